//! A `clos serve` of one measurement: a folder of YAML, a data directory and a port of its own. It is killed when dropped; what it made
//! in the engine stays until the run cleans up.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clos_resources::{Service, names};
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::engine::{COMMAND, Engine, IMAGE, LABEL_RUN, LABEL_SIDE, PATIENCE, Side};

/// So many services share a group: a network has addresses for 253 containers.
const SERVICES_PER_GROUP: u16 = 200;

/// So many groups there are: enough for the most services.
const GROUPS: u16 = 3;

/// Calls of clos to the engine that change nothing there. All others count as changes.
const READS: [&str; 5] = ["info", "observe", "list", "networks", "publishers"];

/// Where a server keeps what is its own; removed when dropped.
pub(crate) struct Folder(TempDir);

/// A running server.
pub(crate) struct Server<'e> {
    engine: &'e Engine,
    clos: PathBuf,
    folder: Folder,
    /// What the groups' names begin with.
    group: String,
    process: Option<Child>,
    client: Client,
}

/// What the server counted since it was started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Counts {
    /// Writes of the store.
    pub(crate) writes: f64,
    /// Calls to the engine that change something.
    pub(crate) changes: f64,
    /// Calls to the engine that change nothing. Asking whether it is there does not count.
    pub(crate) reads: f64,
}

impl Folder {
    /// A new folder below `parent`, which should lie on a disk: what is stored is made durable.
    pub(crate) fn new(parent: &Path) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix_in("server-", parent)
            .with_context(|| format!("cannot make a folder in {}", parent.display()))?;
        fs::create_dir(folder.path().join("source")).context("cannot make a folder")?;
        Ok(Self(folder))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file among the declarations, whole at once.
    fn declare(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let hidden = self.path("new.yaml");
        let path = self.path("source").join(name);
        fs::write(&hidden, text).with_context(|| format!("cannot write {}", hidden.display()))?;
        fs::rename(&hidden, &path).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl<'e> Server<'e> {
    /// Starts a server that has the groups and no service yet, and waits until it is ready.
    pub(crate) async fn start(
        engine: &'e Engine,
        clos: &Path,
        folder: Folder,
    ) -> anyhow::Result<Self> {
        let (namespace, group) = (engine.namespace(), engine.unused("group"));
        let mut text =
            format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n");
        for number in 0..GROUPS {
            write!(
                text,
                "---\napiVersion: clos.dev/v1alpha1\nkind: Group\nmetadata: {{name: {group}-{number}, namespace: {namespace}}}\nspec: {{}}\n"
            )
            .context("text can be written")?;
        }
        folder.declare("groups.yaml", &text)?;
        let (process, _) = launch(engine, clos, &folder).await?;
        let client = client(&folder).await?;
        Ok(Self {
            engine,
            clos: clos.to_owned(),
            folder,
            group,
            process: Some(process),
            client,
        })
    }

    /// Starts it again on what it has; gives the time until it was ready.
    pub(crate) async fn start_again(&mut self) -> anyhow::Result<Duration> {
        let (process, took) = launch(self.engine, &self.clos, &self.folder).await?;
        self.process = Some(process);
        self.client = client(&self.folder).await?;
        Ok(took)
    }

    /// Asks it to stop and waits until it has. Its containers go on.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        if let Some(pid) = process.id() {
            signal(pid, "TERM").await?;
        }
        let ended = tokio::time::timeout(PATIENCE, process.wait()).await;
        ended
            .context("clos serve does not stop")?
            .context("cannot wait for clos serve")?;
        Ok(())
    }

    /// The engine it works with.
    pub(crate) fn engine(&self) -> &Engine {
        self.engine
    }

    /// Its process.
    pub(crate) fn pid(&self) -> anyhow::Result<u32> {
        let pid = self.process.as_ref().and_then(Child::id);
        pid.context("clos serve does not run")
    }

    /// A client of its API.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Its services.
    pub(crate) fn services(&self) -> Api<Service> {
        Api::namespaced(self.client(), &self.engine.namespace())
    }

    /// The container of the service with this number.
    pub(crate) fn container(&self, number: u16) -> String {
        names::container(
            &self.engine.namespace(),
            &names::instance(&service_name(number), 0),
        )
    }

    /// Declares this many services, all at once.
    pub(crate) fn declare(&self, count: u16) -> anyhow::Result<()> {
        let services: Vec<String> = (0..count).map(|number| self.service(number)).collect();
        self.folder
            .declare("services.yaml", &services.join("---\n"))
    }

    /// Waits until this many services are ready for what is declared.
    pub(crate) async fn until_ready(&self, count: u16) -> anyhow::Result<()> {
        let services = self.services();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let list = services
                .list(&ListParams::default())
                .await
                .context("cannot list services")?;
            let ready = list
                .items
                .iter()
                .filter(|service| is_ready(service))
                .count();
            if ready == usize::from(count) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "{ready} of {count} services are ready after {} s",
                    PATIENCE.as_secs()
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until nothing was written for a few seconds.
    pub(crate) async fn until_quiet(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut before = self.counts().await?;
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let now = self.counts().await?;
            if now == before {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("clos still writes after {} s", PATIENCE.as_secs());
            }
            before = now;
        }
    }

    /// What it counted since it was started.
    pub(crate) async fn counts(&self) -> anyhow::Result<Counts> {
        let request = http::Request::get("/metrics")
            .body(Vec::new())
            .context("a request without a body")?;
        let text = self
            .client
            .request_text(request)
            .await
            .context("cannot read /metrics")?;
        Counts::of(&text).context("/metrics does not show what the store wrote")
    }

    fn service(&self, number: u16) -> String {
        let [program, flag, script] = COMMAND;
        format!(
            "apiVersion: clos.dev/v1alpha1\nkind: Service\nmetadata: {{name: {}, namespace: {}}}\nspec:\n  group: {}-{}\n  image: {IMAGE}\n  \
             imagePullPolicy: Never\n  command: [{program}, {flag}, \"{script}\"]\n  labels: {{{LABEL_RUN}: \"{}\", {LABEL_SIDE}: {}}}\n",
            service_name(number),
            self.engine.namespace(),
            self.group,
            number / SERVICES_PER_GROUP,
            self.engine.run(),
            Side::Clos.as_str(),
        )
    }
}

impl Counts {
    /// What the text of /metrics says. Before the first call to the engine there is nothing about calls.
    fn of(text: &str) -> Option<Self> {
        let value = |line: &str| line.rsplit(' ').next()?.parse::<f64>().ok();
        let writes = text
            .lines()
            .find(|line| line.starts_with("clos_store_writes_total "));
        let reads = |line: &&str| {
            READS
                .iter()
                .any(|read| line.contains(&format!("operation=\"{read}\"")))
        };
        let (reads, changes): (Vec<&str>, Vec<&str>) = text
            .lines()
            .filter(|line| line.starts_with("clos_engine_call_seconds_count{"))
            .partition(reads);
        // Not `sum`, which is -0 when there is nothing to add.
        let count = |lines: Vec<&str>| {
            let values = lines.into_iter().filter_map(value);
            values.fold(0.0, |sum, value| sum + value)
        };
        Some(Self {
            writes: value(writes?)?,
            changes: count(changes),
            reads: count(reads),
        })
    }
}

/// Sends a signal to a process.
pub(crate) async fn signal(pid: u32, name: &str) -> anyhow::Result<()> {
    let mut kill = Command::new("kill");
    let status = kill
        .args([&format!("-{name}"), &pid.to_string()])
        .status()
        .await;
    let status = status.context("cannot run kill")?;
    anyhow::ensure!(status.success(), "cannot send SIG{name} to process {pid}");
    Ok(())
}

fn service_name(number: u16) -> String {
    format!("s{number:03}")
}

fn is_ready(service: &Service) -> bool {
    service.status.as_ref().is_some_and(|status| {
        let ready = clos_resources::conditions::ready(&status.conditions);
        ready.is_some_and(|ready| ready.status == "True")
            && status.observed_generation == service.metadata.generation
    })
}

/// Starts the process and waits for the line that says it is ready.
async fn launch(
    engine: &Engine,
    clos: &Path,
    folder: &Folder,
) -> anyhow::Result<(Child, Duration)> {
    let log = folder.path("log");
    let errors = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let began = Instant::now();
    let mut process = Command::new(clos)
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--engine",
            engine.address(),
            "--dir",
        ])
        .arg(folder.path("source"))
        .arg("--data-dir")
        .arg(folder.path("data"))
        .arg("--kubeconfig")
        .arg(folder.path("kubeconfig"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", clos.display()))?;
    let output = process.stdout.take().context("the output is piped")?;
    let mut lines = BufReader::new(output).lines();
    let reading = async {
        while let Some(line) = lines
            .next_line()
            .await
            .context("cannot read what clos serve prints")?
        {
            if line.starts_with("ready in ") {
                return Ok(began.elapsed());
            }
        }
        bail!(
            "clos serve ended: {}",
            fs::read_to_string(&log).unwrap_or_default()
        )
    };
    let ready = tokio::time::timeout(PATIENCE, reading).await;
    let took = ready.context("clos serve does not become ready")??;
    Ok((process, took))
}

async fn client(folder: &Folder) -> anyhow::Result<Client> {
    let path = folder.path("kubeconfig");
    let kubeconfig =
        Kubeconfig::read_from(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options);
    let config = config.await.context("cannot use the kubeconfig")?;
    Client::try_from(config).context("cannot use the kubeconfig")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_change_the_engine_are_told_from_reads() {
        let text = "\
clos_engine_call_seconds_sum{operation=\"create_container\",result=\"ok\"} 0.3
clos_engine_call_seconds_count{operation=\"create_container\",result=\"ok\"} 3
clos_engine_call_seconds_count{operation=\"start_container\",result=\"refused\"} 1
clos_engine_call_seconds_count{operation=\"observe\",result=\"ok\"} 40
clos_engine_call_seconds_count{operation=\"list\",result=\"ok\"} 2
clos_store_writes_total 17
";
        let expected = Counts {
            writes: 17.0,
            changes: 4.0,
            reads: 42.0,
        };
        assert_eq!(Counts::of(text), Some(expected));
        let none = Counts::of("clos_store_writes_total 0\n").unwrap();
        assert_eq!(format!("{:.0}", none.changes), "0");
        assert_eq!(Counts::of("# EOF\n"), None);
    }
}
