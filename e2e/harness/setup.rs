//! What a test's server is started with: declarations, flags, environment, engine. Starting and looking is in `server`.

use std::fs;

use tempfile::TempDir;

use crate::engine::Engine;
use crate::server::Server;

/// A group and a service that says hello and runs; `NAMESPACE` and `IMAGE` are to be filled in (see [`Server::fill`]).
pub const WEB: &str = r#"
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
  command: [sh, -c, "echo hello from web; exec sleep 3600"]
  stopGracePeriod: 0s
"#;

/// What a server is to be started with.
#[derive(Default)]
pub struct Setup {
    pub(crate) files: Vec<(String, String)>,
    pub(crate) flags: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) wrapper: Vec<String>,
    pub(crate) engine: Engine,
    pub(crate) address: Option<String>,
}

impl Setup {
    /// A server on an empty folder and the default engine.
    pub fn new() -> Self {
        Self::default()
    }

    /// A file in the folder of YAML. `NAMESPACE` and `IMAGE` in it are filled in.
    #[must_use]
    pub fn file(mut self, name: &str, content: &str) -> Self {
        self.files.push((name.to_owned(), content.to_owned()));
        self
    }

    /// More arguments of `clos serve`.
    #[must_use]
    pub fn flags(mut self, flags: &[&str]) -> Self {
        self.flags
            .extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    /// A variable in the server's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A program, with its arguments, that runs the server and becomes its process by `exec`, such as `prlimit --nofile=64`.
    #[must_use]
    pub fn wrapper(mut self, program: &[&str]) -> Self {
        self.wrapper = program.iter().map(|part| (*part).to_owned()).collect();
        self
    }

    /// The engine of the server and of the test.
    #[must_use]
    pub fn engine(mut self, engine: &Engine) -> Self {
        self.engine = engine.clone();
        self
    }

    /// The server reaches its engine at another address than the test, such as through a proxy.
    #[must_use]
    pub fn through(mut self, address: &str) -> Self {
        self.address = Some(address.to_owned());
        self
    }

    /// Makes the folders and files, and starts the server and waits until it is ready.
    pub fn start(self) -> Server {
        let mut server = self.prepare();
        server.launch();
        server
    }

    /// Makes the folders and files without starting the server.
    pub fn prepare(self) -> Server {
        self.engine.prepare_images();
        let folder = TempDir::with_prefix("clos-it-").unwrap();
        let name = folder.path().file_name().unwrap().to_string_lossy();
        let namespace = name.replace("clos-it-", "t-").to_lowercase();
        let files = self.files.clone();
        let server = Server::new(self, folder, namespace);
        fs::create_dir(server.source()).unwrap();
        server.write(
            "namespace.yaml",
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: NAMESPACE}\n",
        );
        for (name, content) in &files {
            server.write(name, content);
        }
        server
    }
}
