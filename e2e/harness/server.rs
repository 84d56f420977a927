//! A `clos serve` of one test's own: its process, its folder of YAML and its containers. What it is started with is in `setup`, what its API
//! shows in `objects`.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

use crate::api::Api;
use crate::command::{Lines, clos_program, kubectl_program, signal, spawn, succeeded};
use crate::engine::{CHECKED, Engine, IMAGE};
use crate::setup::Setup;
use crate::wait::{PATIENCE, wait_until};

/// A server with a folder of YAML, a data directory and a namespace name of its own. When it is dropped, its process is killed and
/// everything with its installation's label is removed.
pub struct Server {
    folder: TempDir,
    setup: Setup,
    /// A namespace that no other test uses.
    pub namespace: String,
    process: Option<Child>,
    installation: String,
    /// The client of the last look at the process that runs.
    pub(crate) api: RefCell<Option<Api>>,
}

impl Server {
    pub(crate) fn new(setup: Setup, folder: TempDir, namespace: String) -> Self {
        Self {
            folder,
            setup,
            namespace,
            process: None,
            installation: String::new(),
            api: RefCell::default(),
        }
    }

    /// Starts a server on an empty folder and waits until it is ready.
    pub fn start() -> Self {
        Setup::new().start()
    }

    /// Starts a server on a folder with these files (`name`, `content`; `NAMESPACE` and `IMAGE` in them are filled in) and more flags.
    pub fn start_with(files: &[(&str, &str)], flags: &[&str]) -> Self {
        let setup = Setup::new().flags(flags);
        let setup = files
            .iter()
            .fold(setup, |setup, (name, content)| setup.file(name, content));
        setup.start()
    }

    /// Starts the process (again) on the same data directory and folder, and waits until it is ready.
    pub fn launch(&mut self) {
        assert!(self.process.is_none(), "the server runs already");
        let (child, first) = spawn(self.command());
        let lines = until_ready(&first);
        self.process = Some(child);
        assert!(
            lines
                .last()
                .is_some_and(|line| line.starts_with("ready in")),
            "clos serve did not become ready: {lines:#?}\n{}",
            self.log()
        );
        let namespace = self.read("/api/v1/namespaces/kube-system").unwrap();
        namespace.json()["metadata"]["uid"]
            .as_str()
            .unwrap()
            .clone_into(&mut self.installation);
    }

    /// Starts the process without waiting for anything: for servers that are to die early, or slowly.
    pub fn launch_unready(&mut self) -> Lines {
        assert!(self.process.is_none(), "the server runs already");
        let (child, lines) = spawn(self.command());
        self.process = Some(child);
        lines
    }

    /// The command that starts the server, for tests that expect it to fail.
    pub fn command(&self) -> Command {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .unwrap();
        let program = clos_program();
        let mut command = match self.setup.wrapper.split_first() {
            None => self.engine().command(program),
            Some((wrapper, arguments)) => {
                let mut command = self.engine().command(wrapper);
                command.args(arguments).arg(program);
                command
            }
        };
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--dir"])
            .arg(self.source())
            .arg("--data-dir")
            .arg(self.data_dir())
            .arg("--kubeconfig")
            .arg(self.kubeconfig());
        if let Some(address) = &self.setup.address {
            command.args(["--engine", address]);
        }
        command
            .args(&self.setup.flags)
            .env("CLOS_LOG", "info")
            .envs(self.setup.environment.iter().cloned())
            .stdout(Stdio::piped())
            .stderr(log);
        command
    }

    /// From the next start on the server has this variable in its environment; `None` takes it away.
    pub fn set_env(&mut self, name: &str, value: Option<&str>) {
        let environment = &mut self.setup.environment;
        environment.retain(|(known, _)| known != name);
        environment.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }

    /// From the next start on the server is run by this program; none when empty.
    pub fn set_wrapper(&mut self, program: &[&str]) {
        self.setup.wrapper = program.iter().map(|part| (*part).to_owned()).collect();
    }

    /// From the next start on these are the server's flags beside those for its folders.
    pub fn set_flags(&mut self, flags: &[&str]) {
        self.setup.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    }

    /// Kills the server at once, as a power cut would.
    pub fn kill_9(&mut self) {
        let mut child = self.ending();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks the server to stop and waits until it has; gives its exit code.
    pub fn stop(&mut self) -> i32 {
        signal(self.pid(), "TERM");
        self.until_ended()
    }

    /// Waits until the server ends by itself; gives its exit code, which is -1 when a signal ended it.
    pub fn until_ended(&mut self) -> i32 {
        let mut child = self.ending();
        wait_until("the server ends", || child.try_wait().unwrap())
            .code()
            .unwrap_or(-1)
    }

    /// The process, which is going to be none: nobody looks at it any more.
    fn ending(&mut self) -> Child {
        *self.api.get_mut() = None;
        self.process.take().expect("the server was started")
    }

    /// Whether its process runs.
    pub fn runs(&mut self) -> bool {
        self.process
            .as_mut()
            .is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// The engine its containers are in.
    pub fn engine(&self) -> &Engine {
        &self.setup.engine
    }

    /// The folder of YAML.
    pub fn source(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    /// A path outside the folder of YAML, for files of the test.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The admin kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// What the server logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The installation's id, as it stands in labels. Empty before the first start.
    pub fn installation(&self) -> &str {
        &self.installation
    }

    /// A manifest's text with `NAMESPACE`, `IMAGE` and `CHECKED` filled in.
    pub fn fill(&self, content: &str) -> String {
        content
            .replace("NAMESPACE", &self.namespace)
            .replace("IMAGE", IMAGE)
            .replace("CHECKED", CHECKED)
    }

    /// Writes a file into the folder of YAML, whole at once.
    pub fn write(&self, name: &str, content: &str) {
        let hidden = self.source().join(format!(".{name}.new"));
        fs::write(&hidden, self.fill(content)).unwrap();
        fs::rename(hidden, self.source().join(name)).unwrap();
    }

    /// Removes a file from the folder of YAML.
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.source().join(name)).unwrap();
    }

    /// A kubectl command with the admin kubeconfig, in the test's namespace.
    pub fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(kubectl_program());
        command
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .arg("--cache-dir")
            .arg(self.folder.path().join("kubectl-cache"))
            .args(["--namespace", &self.namespace])
            .args(arguments);
        command
    }

    /// Runs kubectl with the admin kubeconfig, in the test's namespace.
    pub fn kubectl(&self, arguments: &[&str]) -> Output {
        self.kubectl_command(arguments).output().unwrap()
    }

    /// Runs kubectl, which must succeed, and gives what it printed.
    pub fn kubectl_ok(&self, arguments: &[&str]) -> String {
        succeeded(arguments, self.kubectl(arguments))
    }

    /// Runs a clos command against this server.
    pub fn clos(&self, arguments: &[&str]) -> Output {
        self.clos_command(arguments).output().unwrap()
    }

    /// A clos command against this server.
    pub fn clos_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.engine().command(clos_program());
        command
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .args(arguments);
        command
    }

    /// Ids of all containers of this installation.
    pub fn containers(&self) -> Vec<String> {
        self.engine().containers_of(&self.installation)
    }

    /// The container's name of an instance.
    pub fn container(&self, instance: &str) -> String {
        format!("clos_{}_{instance}", self.namespace)
    }

    /// What the engine says about the container of an instance, or nothing.
    pub fn inspect(&self, instance: &str) -> Option<Value> {
        self.engine().inspect(&self.container(instance))
    }

    /// Waits until an instance's container runs, and was started after `than` (RFC 3339, as the engine says it); gives its inspection.
    pub fn until_running_again(&self, instance: &str, than: &str) -> Value {
        wait_until(&format!("{instance} runs again"), || {
            let container = self.inspect(instance)?;
            let later = container["State"]["StartedAt"].as_str().unwrap() > than;
            (container["State"]["Running"] == true && later).then_some(container)
        })
    }
}

impl Drop for Server {
    #[expect(
        clippy::print_stdout,
        reason = "the test runner shows it with the failure"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let objects = self.kubectl(&["get", "clos", "-o", "yaml"]).stdout;
            let objects = String::from_utf8_lossy(&objects);
            println!("the server's log:\n{}\nits objects:\n{objects}", self.log());
        }
        if let Some(mut child) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if !self.installation.is_empty() {
            self.engine().remove_all_of(&self.installation);
        }
    }
}

/// The lines up to `ready in …`, or all of them when the process ends before.
fn until_ready(lines: &Lines) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        let last = line.starts_with("ready in");
        seen.push(line);
        if last {
            break;
        }
    }
    seen
}
