//! The harness: a `clos serve` of one test's own, and the engine seen through the `docker` client. Everything it makes carries the
//! server's installation label and is removed when the test ends, however it ends.

use std::fmt::Debug;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The image of the tests: busybox without a registry. Its health check succeeds once `/tmp/ready` exists.
pub(crate) const IMAGE: &str = "clos-it/busybox:2";

/// A group and a service that says hello and runs; `NAMESPACE` and `IMAGE` are to be filled in.
pub(crate) const WEB: &str = r#"
apiVersion: clos.dev/v1alpha1
kind: Group
metadata: {name: shop, namespace: NAMESPACE}
---
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: {name: web, namespace: NAMESPACE}
spec:
  group: shop
  image: IMAGE
  imagePullPolicy: Never
  command: [sh, -c, "touch /tmp/ready; echo hello from web; exec sleep 3600"]
  stopGracePeriod: 0s
"#;

/// A running server with a folder of YAML, a data directory and a namespace name of its own.
pub(crate) struct Server {
    folder: TempDir,
    /// A namespace that no other test uses.
    pub(crate) namespace: String,
    process: Option<Child>,
    extra: Vec<String>,
    installation: String,
}

impl Server {
    /// Starts a server on an empty folder and waits until it is ready.
    pub(crate) fn start() -> Self {
        Self::start_with(&[], &[])
    }

    /// Starts a server on a folder with these files (`name`, `content`; `NAMESPACE` and `IMAGE` in them are filled in) and more flags.
    pub(crate) fn start_with(files: &[(&str, &str)], flags: &[&str]) -> Self {
        prepare_image();
        let folder = TempDir::with_prefix("clos-it-").unwrap();
        let random = folder
            .path()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .replace("clos-it-", "")
            .to_lowercase();
        let mut server = Self {
            namespace: format!("t-{random}"),
            folder,
            process: None,
            extra: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            installation: String::new(),
        };
        fs::create_dir(server.source()).unwrap();
        server.write(
            "namespace.yaml",
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: NAMESPACE}\n",
        );
        for (name, content) in files {
            server.write(name, content);
        }
        server.launch();
        server
    }

    /// Starts the process (again) on the same data directory and folder.
    pub(crate) fn launch(&mut self) {
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
        let namespace = self.json(&["get", "ns", "kube-system", "-o", "json"]);
        self.installation = text(&namespace["metadata"]["uid"]);
    }

    /// The command that starts the server, for tests that expect it to fail.
    pub(crate) fn command(&self) -> Command {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_clos"));
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--dir"])
            .arg(self.source())
            .arg("--data-dir")
            .arg(self.data_dir())
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .args(&self.extra)
            .env("CLOS_LOG", "info")
            .stdout(Stdio::piped())
            .stderr(log);
        command
    }

    /// Kills the server at once, as a power cut would.
    pub(crate) fn kill_9(&mut self) {
        let mut child = self.process.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks the server to stop and waits until it has; gives its exit code.
    pub(crate) fn stop(&mut self) -> i32 {
        let mut child = self.process.take().unwrap();
        signal(child.id(), "TERM");
        wait_until("the server stops", || child.try_wait().unwrap())
            .code()
            .unwrap_or(-1)
    }

    /// The server's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// The folder of YAML.
    pub(crate) fn source(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    /// A path outside the folder of YAML, for files of the test.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The data directory.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The admin kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// What the server logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The installation's id, as it stands in labels.
    pub(crate) fn installation(&self) -> &str {
        &self.installation
    }

    /// A manifest's text with `NAMESPACE` and `IMAGE` filled in.
    pub(crate) fn fill(&self, content: &str) -> String {
        content
            .replace("NAMESPACE", &self.namespace)
            .replace("IMAGE", IMAGE)
    }

    /// Writes a file into the folder of YAML, whole at once.
    pub(crate) fn write(&self, name: &str, content: &str) {
        let hidden = self.source().join(format!(".{name}.new"));
        fs::write(&hidden, self.fill(content)).unwrap();
        fs::rename(hidden, self.source().join(name)).unwrap();
    }

    /// Removes a file from the folder of YAML.
    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.source().join(name)).unwrap();
    }

    /// A kubectl command with the admin kubeconfig, in the test's namespace.
    pub(crate) fn kubectl_command(&self, arguments: &[&str]) -> Command {
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
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Output {
        self.kubectl_command(arguments).output().unwrap()
    }

    /// Runs kubectl, which must succeed, and gives what it printed.
    pub(crate) fn kubectl_ok(&self, arguments: &[&str]) -> String {
        succeeded(arguments, self.kubectl(arguments))
    }

    /// Runs kubectl, which must print JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.kubectl_ok(arguments)).unwrap()
    }

    /// Runs a clos command against this server.
    pub(crate) fn clos(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_clos"))
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .args(arguments)
            .output()
            .unwrap()
    }

    /// One object as JSON, or nothing when it does not exist.
    pub(crate) fn object(&self, kind: &str, name: &str) -> Option<Value> {
        let output = self.kubectl(&["get", kind, name, "-o", "json"]);
        output
            .status
            .success()
            .then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    /// A service's `Ready` condition: status, reason, message.
    pub(crate) fn ready(&self, kind: &str, name: &str) -> (String, String, String) {
        let object = self.object(kind, name).unwrap_or_default();
        let conditions = object["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let ready = conditions
            .into_iter()
            .find(|condition| condition["type"] == "Ready")
            .unwrap_or_default();
        let text = |field: &str| ready[field].as_str().unwrap_or_default().to_owned();
        (text("status"), text("reason"), text("message"))
    }

    /// Waits until a service is ready for its newest declaration.
    pub(crate) fn until_ready(&self, service: &str) {
        wait_until(&format!("service {service} is ready"), || {
            let object = self.object("csvc", service)?;
            let conditions = object["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let ready = conditions
                .iter()
                .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
            (ready && object["status"]["observedGeneration"] == object["metadata"]["generation"])
                .then_some(())
        });
    }

    /// Waits until a service's `Ready` condition has this reason, and gives its message.
    pub(crate) fn until_reason(&self, kind: &str, name: &str, reason: &str) -> String {
        wait_until(&format!("{kind} {name} has the reason {reason}"), || {
            let (_, found, message) = self.ready(kind, name);
            (found == reason).then_some(message)
        })
    }

    /// Ids of all containers of this installation.
    pub(crate) fn containers(&self) -> Vec<String> {
        let filter = format!("label=clos.dev/installation={}", self.installation);
        docker(&["ps", "-aq", "--no-trunc", "--filter", &filter])
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    }

    /// The container's name of an instance.
    pub(crate) fn container(&self, instance: &str) -> String {
        format!("clos_{}_{instance}", self.namespace)
    }

    /// What the engine says about the container of an instance, or nothing.
    pub(crate) fn inspect(&self, instance: &str) -> Option<Value> {
        inspect(&self.container(instance))
    }

    /// Waits until an instance's container runs, and was started after `than` (RFC 3339, as the engine says it); gives its inspection.
    pub(crate) fn until_running_again(&self, instance: &str, than: &str) -> Value {
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
        if self.installation.is_empty() {
            return;
        }
        let filter = format!("label=clos.dev/installation={}", self.installation);
        for (list, remove) in [
            (&["ps", "-aq", "--filter"][..], &["rm", "-f", "-v"][..]),
            (&["network", "ls", "-q", "--filter"], &["network", "rm"]),
            (&["volume", "ls", "-q", "--filter"], &["volume", "rm", "-f"]),
        ] {
            let found = Command::new("docker").args(list).arg(&filter).output();
            let found = found
                .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
                .unwrap_or_default();
            if !found.trim().is_empty() {
                let _ = Command::new("docker")
                    .args(remove)
                    .args(found.split_whitespace())
                    .output();
            }
        }
    }
}

/// A string among JSON.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Something made in the engine by hand; removed when dropped.
pub(crate) struct Foreign {
    remove: Vec<String>,
    /// Its id.
    pub(crate) id: String,
}

impl Foreign {
    /// Runs a container by hand with these `docker run` arguments before the image, and sleeps in it.
    pub(crate) fn container(arguments: &[&str]) -> Self {
        prepare_image();
        let mut all = vec!["run", "-d"];
        all.extend(arguments);
        all.extend([IMAGE, "sleep", "3600"]);
        let id = docker(&all).trim().to_owned();
        Self {
            remove: vec![
                "rm".to_owned(),
                "-f".to_owned(),
                "-v".to_owned(),
                id.clone(),
            ],
            id,
        }
    }

    /// Makes a network by hand.
    pub(crate) fn network(arguments: &[&str]) -> Self {
        let mut all = vec!["network", "create"];
        all.extend(arguments);
        let id = docker(&all).trim().to_owned();
        Self {
            remove: vec!["network".to_owned(), "rm".to_owned(), id.clone()],
            id,
        }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(&self.remove).output();
    }
}

/// Waits until `probe` gives something, and gives that. A test that waits too long says for what.
pub(crate) fn wait_until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "waited {} s in vain until {what}",
            PATIENCE.as_secs()
        );
        pause();
    }
}

/// The pause between two looks at the world.
#[expect(
    clippy::disallowed_methods,
    reason = "the pause between two looks of wait_until; nothing depends on its length"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}

/// Runs the docker client, which must succeed.
pub(crate) fn docker(arguments: &[&str]) -> String {
    succeeded(
        arguments,
        Command::new("docker").args(arguments).output().unwrap(),
    )
}

/// What the engine says about a container, or nothing when it does not exist.
pub(crate) fn inspect(container: &str) -> Option<Value> {
    let output = Command::new("docker")
        .args(["container", "inspect", container])
        .output()
        .unwrap();
    let list: Value = serde_json::from_slice(&output.stdout).ok()?;
    list.get(0).cloned()
}

/// Sends a signal to a process.
pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success(), "cannot send {name} to {pid}");
}

/// Standard output of a command that must have succeeded.
pub(crate) fn succeeded(arguments: &[impl Debug], output: Output) -> String {
    assert!(
        output.status.success(),
        "{arguments:?} failed with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Starts a command and gives its standard output line by line.
pub(crate) fn spawn(mut command: Command) -> (Child, mpsc::Receiver<String>) {
    let mut child = command.spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    (child, lines)
}

/// The lines up to `ready in …`, or all of them when the process ends before.
pub(crate) fn until_ready(lines: &mpsc::Receiver<String>) -> Vec<String> {
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

/// The kubectl that `make test` found or built; the one on the PATH when the tests are run by hand.
#[expect(
    clippy::disallowed_methods,
    reason = "how make test says which kubectl to use"
)]
fn kubectl_program() -> String {
    std::env::var("KUBECTL").unwrap_or_else(|_| "kubectl".to_owned())
}

/// Makes the tests' image unless it is there.
fn prepare_image() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(root.join("deploy/engine.sh"));
    command.args([
        "image",
        IMAGE,
        "--change",
        "HEALTHCHECK --interval=1s --timeout=10s --retries=3 CMD test -e /tmp/ready",
    ]);
    succeeded(&["deploy/engine.sh image"], command.output().unwrap());
}
