//! One way to die: what is done to a server, at which point it is killed meanwhile, and what must be so after its next start.

use std::time::{Duration, Instant};

use clos_failpoints::KILLED;
use clos_harness::{IMAGE, Server, Setup, docker, succeeded, wait_until};
use serde_json::{Value, json};

use crate::audit;
use crate::right::{Right, objects, uid};
use crate::shop::Shop;

/// What is done to the server that is to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Nothing: it starts for the first time, on a folder that declares the shop.
    Start,
    /// As that, with an image that nobody can pull; before the next start it is there.
    Pull,
    /// A container is frozen by hand.
    Freeze,
    /// The shop declares another version.
    Change,
    /// It declares fewer replicas.
    ScaleDown,
    /// Its service is not published any more.
    ClosePort,
    /// A service with a port and a volume is declared no more.
    RemoveService,
    /// A group with a service is declared no more.
    RemoveGroup,
    /// The namespace is declared no more, and stays.
    ReleaseNamespace,
    /// Another namespace, with a service that runs, is deleted.
    DeleteNamespace,
    /// The owner of an object is deleted, which stays.
    Orphan,
    /// The owner of an object is deleted, which goes before it.
    Foreground,
}

/// One way to die.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// What is done.
    pub(crate) act: Act,
    /// The point's name.
    pub(crate) point: String,
    /// The how manieth time that it is reached.
    pub(crate) time: u32,
}

/// What `kubectl delete` was asked to delete, and whether that was acknowledged.
struct Deletion {
    uid: String,
    arguments: Vec<String>,
    acknowledged: bool,
}

impl Case {
    /// Kills a server there, starts it again, and checks everything. Answers how long after its start everything was right.
    pub(crate) fn run(&self) -> Duration {
        let mut shop = Shop::new();
        let mut server = self.prepared(&shop);
        let deletion = if matches!(self.act, Act::Start | Act::Pull) {
            drop(server.launch_unready());
            None
        } else {
            let since = Instant::now();
            server.launch();
            self.before(&shop).until_so(&server, since);
            self.carry_out(&server, &mut shop)
        };
        assert_eq!(server.until_ended(), -1, "it was not killed");
        let log = server.log();
        let killed = format!("{KILLED} {}", self.point);
        assert!(log.contains(&killed), "it died otherwise:\n{log}");
        let _pulled = (self.act == Act::Pull).then(|| Tagged::new(&pulled(&server)));

        server.set_env("FAILPOINTS", None);
        let since = Instant::now();
        server.launch();
        if let Some(deletion) = deletion.as_ref().filter(|deletion| !deletion.acknowledged) {
            server.kubectl_ok(&words(&deletion.arguments));
        }
        let took = self.afterwards(&shop, &server).until_so(&server, since);
        self.check_dependents(&server);
        audit::agrees(&server);
        if let Some(deletion) = deletion {
            check_deletion(&server, &deletion);
        }
        took
    }

    /// A server that is to die, not started yet.
    fn prepared(&self, shop: &Shop) -> Server {
        let before = match self.time {
            1 => String::new(),
            time => format!("{}*off->", time - 1),
        };
        let armed = format!("{}={before}return", self.point);
        let files = match self.act {
            Act::Start
            | Act::Freeze
            | Act::Change
            | Act::ScaleDown
            | Act::ClosePort
            | Act::RemoveService
            | Act::RemoveGroup => shop.files(),
            Act::Pull => {
                let mut files = shop.files();
                for (_, content) in &mut files {
                    *content = content
                        .replace("imagePullPolicy: Never", "imagePullPolicy: IfNotPresent")
                        .replace("image: IMAGE", "image: 127.0.0.1:1/NAMESPACE:1");
                }
                files
            }
            // An empty folder would be no reason to let anything go.
            Act::ReleaseNamespace => shop.files()[..1].to_vec(),
            Act::DeleteNamespace | Act::Orphan | Act::Foreground => Vec::new(),
        };
        let setup = Setup::new().env("FAILPOINTS", &armed);
        files
            .iter()
            .fold(setup, |setup, (name, content)| setup.file(name, content))
            .prepare()
    }

    /// What is right before it is done.
    fn before(&self, shop: &Shop) -> Right {
        match self.act {
            Act::Start
            | Act::Pull
            | Act::Freeze
            | Act::Change
            | Act::ScaleDown
            | Act::ClosePort
            | Act::RemoveService
            | Act::RemoveGroup => shop.right(),
            Act::ReleaseNamespace | Act::DeleteNamespace | Act::Orphan | Act::Foreground => {
                Right::default()
            }
        }
    }

    /// What is right after all.
    fn afterwards(&self, shop: &Shop, server: &Server) -> Right {
        let mut right = self.before(shop);
        if right.networks.contains("shop") {
            right
                .volumes
                .insert(format!("clos_{}_data", server.namespace));
        }
        right
    }

    /// Does it; the server may die meanwhile.
    fn carry_out(&self, server: &Server, shop: &mut Shop) -> Option<Deletion> {
        match self.act {
            Act::Start | Act::Pull => {}
            // An engine with much to do may fail at this, so it is asked until it has.
            Act::Freeze => wait_until("a container is frozen", || {
                let frozen = ["pause", &server.container("worker-0")];
                let output = server.engine().try_docker(&frozen);
                output.status.success().then_some(())
            }),
            Act::Change => shop.version = 2,
            Act::ScaleDown => shop.workers = 1,
            Act::ClosePort => shop.port = None,
            Act::RemoveService => shop.web = false,
            Act::RemoveGroup => shop.side = false,
            Act::ReleaseNamespace => server.remove("namespace.yaml"),
            Act::DeleteNamespace => {
                let other = format!("{}-b", server.namespace);
                let declared = Shop {
                    web: false,
                    workers: 0,
                    ..shop.clone()
                }
                .files();
                let declared: Vec<String> = declared
                    .iter()
                    .map(|(_, content)| content.replace("NAMESPACE", &other))
                    .collect();
                let namespace =
                    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {other}}}\n");
                let file = server.scratch("other.yaml");
                std::fs::write(
                    &file,
                    server.fill(&(namespace + "---\n" + &declared.join("---\n"))),
                )
                .unwrap();
                server.kubectl_ok(&[
                    "apply",
                    "--validate=false",
                    "-n",
                    &other,
                    "-f",
                    file.to_str().unwrap(),
                ]);
                wait_until("the other namespace's service runs", || {
                    let container = server.engine().inspect(&format!("clos_{other}_aside-0"))?;
                    (container["State"]["Running"] == true).then_some(())
                });
                let namespace = server.object("namespace", &other).unwrap();
                return Some(delete(server, &namespace, &["namespace", &other]));
            }
            Act::Orphan => return Some(delete_owner(server, "orphan")),
            Act::Foreground => return Some(delete_owner(server, "foreground")),
        }
        if !matches!(self.act, Act::Freeze | Act::ReleaseNamespace) {
            shop.declare(server);
        }
        None
    }

    fn check_dependents(&self, server: &Server) {
        let all = objects(server).unwrap();
        let named = |name: &str| all.iter().find(|object| object["metadata"]["name"] == name);
        match self.act {
            Act::Orphan => {
                assert_eq!(named("owner"), None);
                let owned = named("owned").expect("it was to stay");
                let owners = owned["metadata"]["ownerReferences"].as_array();
                assert_eq!(owners.map_or(0, Vec::len), 0, "{owned}");
            }
            Act::Foreground => assert_eq!((named("owner"), named("owned")), (None, None)),
            Act::ReleaseNamespace => {
                let namespace = named(&server.namespace).expect("it was to stay");
                assert_eq!(
                    namespace["metadata"]["labels"]["clos.dev/source"],
                    Value::Null
                );
            }
            Act::DeleteNamespace => {
                let other = format!("{}-b", server.namespace);
                assert_eq!(named(&other), None);
                let left = |object: &&Value| object["metadata"]["namespace"] == other.as_str();
                assert_eq!(all.iter().find(left), None);
            }
            Act::Start
            | Act::Pull
            | Act::Freeze
            | Act::Change
            | Act::ScaleDown
            | Act::ClosePort
            | Act::RemoveService
            | Act::RemoveGroup => {}
        }
    }
}

/// Makes an object that owns another, and deletes it in this way.
fn delete_owner(server: &Server, cascade: &str) -> Deletion {
    let make = |object: Value| {
        let file = server.scratch("object.json");
        std::fs::write(&file, object.to_string()).unwrap();
        server.kubectl_ok(&["create", "--validate=false", "-f", file.to_str().unwrap()]);
    };
    let config_map = |name: &str, owners: Value| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "ownerReferences": owners } });
    make(config_map("owner", json!([])));
    let owner = server.object("configmap", "owner").unwrap();
    let reference = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid(&owner), "blockOwnerDeletion": true });
    make(config_map("owned", json!([reference])));
    delete(
        server,
        &owner,
        &["configmap", "owner", &format!("--cascade={cascade}")],
    )
}

/// Asks for a deletion. The server may die of it before it answers.
fn delete(server: &Server, object: &Value, what: &[&str]) -> Deletion {
    let arguments: Vec<String> = ["delete", "--wait=false", "--ignore-not-found"]
        .iter()
        .chain(what)
        .map(|word| (*word).to_owned())
        .collect();
    Deletion {
        uid: uid(object),
        acknowledged: server.kubectl(&words(&arguments)).status.success(),
        arguments,
    }
}

/// What a person asked for stands in the audit once, if it was acknowledged; an answer that was lost leaves that open.
fn check_deletion(server: &Server, deletion: &Deletion) {
    let entries = audit::journal(server);
    let asked = entries.iter().filter(|entry| {
        entry["verb"] == "delete" && entry["uid"] == *deletion.uid && entry["actor"] == "user:admin"
    });
    let most = if deletion.acknowledged { 1 } else { 2 };
    let found = asked.count();
    assert!(
        (1..=most).contains(&found),
        "{found} events of the deletion"
    );
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// The image that nobody can pull.
fn pulled(server: &Server) -> String {
    format!("127.0.0.1:1/{}:1", server.namespace)
}

/// Another name of the tests' image; taken away when dropped.
struct Tagged(String);

impl Tagged {
    fn new(name: &str) -> Self {
        docker(&["tag", IMAGE, name]);
        Self(name.to_owned())
    }
}

impl Drop for Tagged {
    fn drop(&mut self) {
        let output = clos_harness::Engine::default().try_docker(&["rmi", &self.0]);
        if !std::thread::panicking() {
            succeeded(&["docker rmi"], output);
        }
    }
}
