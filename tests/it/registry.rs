//! A registry of a test's own on loopback, and a gate before it that holds large answers back. What is tested with it is in `pulls`.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use clos_harness::{Engine, IMAGE, docker, repository, succeeded, wait_until};
use tempfile::TempDir;

/// So much of a connection passes the gate while it is closed: everything but the better part of a layer.
const SMALL: usize = 1 << 20;

/// A registry that everybody may read and write, until it denies. When it is dropped, its images are removed from the engine.
pub(crate) struct Registry {
    folder: TempDir,
    process: Child,
    /// Where it listens behind the gate.
    direct: Arc<AtomicU16>,
    gate: Arc<Gate>,
    port: u16,
}

impl Registry {
    /// Starts a registry with nothing in it.
    pub(crate) fn start() -> Self {
        let folder = TempDir::with_prefix("clos-it-registry-").unwrap();
        let (process, direct) = serve(&folder, false);
        let direct = Arc::new(AtomicU16::new(direct));
        let gate = Arc::new(Gate::default());
        let port = gate.stand_before(&direct);
        Self {
            folder,
            process,
            direct,
            gate,
            port,
        }
    }

    /// An image's name for services: they come through the gate.
    pub(crate) fn image(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }

    /// An image's name that tests write to: the engine takes it for another registry.
    fn behind(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.direct.load(Ordering::SeqCst))
    }

    /// Makes an image with so many random bytes in a layer of its own, and puts it there under these names.
    pub(crate) fn publish(&self, names: &[&str], bytes: u64) {
        Engine::default().prepare_images();
        let ballast = self.folder.path().join("ballast");
        let mut random = File::open("/dev/urandom").unwrap().take(bytes);
        std::io::copy(&mut random, &mut File::create(&ballast).unwrap()).unwrap();
        let container = docker(&["create", IMAGE, "true"]);
        let container = container.trim();
        docker(&[
            "cp",
            ballast.to_str().unwrap(),
            &format!("{container}:/ballast"),
        ]);
        let made = docker(&["commit", container]);
        self.push(made.trim(), names);
        docker(&["rm", container]);
    }

    /// Puts an image of the engine there under these names. An image without a name of its own is removed from the engine.
    pub(crate) fn push(&self, image: &str, names: &[&str]) {
        let targets: Vec<String> = names.iter().map(|name| self.behind(name)).collect();
        for target in &targets {
            docker(&["tag", image, target]);
        }
        for target in &targets {
            docker(&["push", target]);
        }
        for target in &targets {
            docker(&["image", "rm", target]);
        }
    }

    /// How many requests it answered whose method and path contain this.
    pub(crate) fn answered(&self, request: &str) -> usize {
        let log = fs::read_to_string(self.folder.path().join("access")).unwrap();
        log.lines().filter(|line| line.contains(request)).count()
    }

    /// From now on only small answers pass, such as manifests.
    pub(crate) fn hold(&self) {
        self.gate.closed.store(true, Ordering::SeqCst);
    }

    /// Everything passes again, also what was held.
    pub(crate) fn release(&self) {
        self.gate.open();
    }

    /// From now on it asks everybody for a name and a password, or nobody.
    pub(crate) fn deny(&mut self, everybody: bool) {
        self.end();
        let (process, direct) = serve(&self.folder, everybody);
        self.process = process;
        self.direct.store(direct, Ordering::SeqCst);
    }

    fn end(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.gate.open();
        let _ = self.process.kill();
        let _ = self.process.wait();
        let ours = format!("reference={}", self.image("*/*"));
        let format = "{{.Repository}}:{{.Tag}} {{.ID}}";
        let engine = Engine::default();
        let listed = engine.try_docker(&["images", "--filter", &ours, "--format", format]);
        for line in String::from_utf8_lossy(&listed.stdout).lines() {
            // One whose tag moved on has only its id.
            let image = match line.split_once(' ') {
                Some((name, id)) if name.ends_with("<none>") => id,
                Some((name, _)) => name,
                None => line,
            };
            engine.try_docker(&["image", "rm", "-f", image]);
        }
    }
}

/// Starts a registry on the folder's data, and gives the port that it took.
fn serve(folder: &TempDir, denying: bool) -> (Child, u16) {
    let script = repository().join("e2e/tools.sh");
    let found = Command::new(script).arg("registry").output().unwrap();
    let program = succeeded(&["e2e/tools.sh registry"], found);
    let path = |name: &str| folder.path().join(name);
    // Nobody has a password: what the file holds does not matter.
    fs::write(path("passwords"), "").unwrap();
    let auth = format!(
        "auth: {{htpasswd: {{realm: clos, path: {}}}}}\n",
        path("passwords").display()
    );
    let configuration = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n{}",
        path("data").display(),
        if denying { auth.as_str() } else { "" }
    );
    fs::write(path("config.yml"), configuration).unwrap();
    let access = File::options()
        .create(true)
        .append(true)
        .open(path("access"))
        .unwrap();
    let process = Command::new(program.trim())
        .arg("serve")
        .arg(path("config.yml"))
        .stdout(access)
        .stderr(File::create(path("log")).unwrap())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let port = wait_until("the registry listens", || {
        let log = fs::read_to_string(path("log")).unwrap();
        let (_, rest) = log.split_once("listening on 127.0.0.1:")?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        (rest.len() > digits.len()).then(|| digits.parse().unwrap())
    });
    (process, port)
}

/// What stands before the registry.
#[derive(Default)]
struct Gate {
    closed: AtomicBool,
    waiting: Mutex<()>,
    opened: Condvar,
}

impl Gate {
    /// Takes connections for the registry at this port, and gives its own port.
    fn stand_before(self: &Arc<Self>, registry: &Arc<AtomicU16>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (gate, registry) = (Arc::clone(self), Arc::clone(registry));
        // It ends with the process: nothing is left to do in it.
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(("127.0.0.1", registry.load(Ordering::SeqCst)))
                else {
                    continue;
                };
                let (from, to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                std::thread::spawn(move || pass(from, to, || {}));
                let gate = Arc::clone(&gate);
                std::thread::spawn(move || pass(far, near, || gate.wait()));
            }
        });
        port
    }

    fn wait(&self) {
        let waiting = self.waiting.lock().unwrap();
        let closed = |(): &mut ()| self.closed.load(Ordering::SeqCst);
        drop(self.opened.wait_while(waiting, closed).unwrap());
    }

    fn open(&self) {
        let _waiting = self.waiting.lock().unwrap();
        self.closed.store(false, Ordering::SeqCst);
        self.opened.notify_all();
    }
}

/// Copies what comes, and asks before each part that is no longer small.
fn pass(mut from: TcpStream, mut to: TcpStream, ask: impl Fn()) {
    let mut buffer = [0; 16 << 10];
    let mut passed = 0;
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        passed += length;
        if passed > SMALL {
            ask();
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // The other side may be gone already.
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
