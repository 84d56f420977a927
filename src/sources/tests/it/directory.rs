//! A real folder, watched, against the real API.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use clos_sources::SourceStatus;
use clos_sources::directory::{Directory, SourceState, Timing};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::{SERVICES, Server, clock, service};

/// Longer than anything here takes; reaching it is a failure.
const DEADLINE: Duration = Duration::from_secs(20);

struct Running {
    server: Server,
    folder: TempDir,
    status: watch::Receiver<SourceStatus>,
    cancellation: CancellationToken,
    tasks: JoinSet<()>,
}

impl Running {
    /// Starts a source on a folder with these files. It is looked at `rescan` after the last look even without a change.
    async fn on(files: &[(&str, &str)], rescan: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let directory = Directory {
            name: "shop".to_owned(),
            path: folder.path().to_path_buf(),
            timing: Timing {
                debounce: Duration::from_millis(20),
                settle: Duration::from_millis(50),
                rescan,
                held: OFTEN,
            },
            clock,
        };
        let server = Server::new().await;
        let (sender, status) = watch::channel(directory.initial_status());
        let cancellation = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(directory.run(server.client.clone(), sender, cancellation.clone()));
        let mut running = Self {
            server,
            folder,
            status,
            cancellation,
            tasks,
        };
        running.until(SourceStatus::has_looked).await;
        running
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    async fn until(&mut self, condition: impl FnMut(&SourceStatus) -> bool) -> SourceStatus {
        tokio::time::timeout(DEADLINE, self.status.wait_for(condition))
            .await
            .expect("in time")
            .expect("it runs")
            .clone()
    }

    /// Waits until the source has looked this many times more.
    async fn looks(&mut self, count: usize) {
        for _ in 0..count {
            tokio::time::timeout(DEADLINE, self.status.changed())
                .await
                .expect("in time")
                .expect("it runs");
        }
    }

    /// Waits until the service's image is this, or the service is gone.
    async fn until_image(&self, name: &str, image: Option<&str>) {
        let wait = async {
            loop {
                let found = self.server.service(name).await;
                if found
                    .as_ref()
                    .and_then(|found| found["spec"]["image"].as_str())
                    == image
                {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.expect("in time");
    }

    async fn stop(mut self) {
        self.cancellation.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

const INVENTORY: &str = "/api/v1/namespaces/clos-system/configmaps/source-shop";
const NEVER: Duration = Duration::from_hours(1);
const OFTEN: Duration = Duration::from_millis(50);

#[tokio::test]
async fn a_folder_is_applied_and_so_is_every_change_of_it() {
    let mut source = Running::on(&[("web.yaml", &service("web", "a"))], NEVER).await;
    let status = source
        .until(|status| status.state == SourceState::Synced)
        .await;
    assert_eq!(status.to_string(), "1 object in 1 file, applied");
    source.write("web.yaml", &service("web", "b"));
    source.until_image("web", Some("b")).await;
    fs::create_dir(source.path().join("more")).unwrap();
    source.write("more/db.yml", &service("db", "a"));
    source.until_image("db", Some("a")).await;
    fs::remove_file(source.path().join("web.yaml")).unwrap();
    source.until_image("web", None).await;
    let status = source
        .until(|status| status.objects == 1 && status.state == SourceState::Synced)
        .await;
    assert_ne!(status.last_synced_revision, None);
    source.stop().await;
}

#[tokio::test]
async fn i8_an_emptied_folder_prunes_nothing() {
    let mut source = Running::on(&[("web.yaml", &service("web", "a"))], NEVER).await;
    fs::remove_file(source.path().join("web.yaml")).unwrap();
    let status = source
        .until(|status| matches!(status.state, SourceState::Refused(_)))
        .await;
    assert_eq!(
        status.to_string(),
        "nothing is declared any more, and 1 objects were; nothing was changed. If they shall all go: clos confirm"
    );
    assert!(source.server.service("web").await.is_some());
    let before = source.server.writes();
    source.looks(3).await;
    assert_eq!(source.server.writes(), before, "I2: it is reported once");

    // What is reported is confirmed by its token; afterwards neither is left.
    let inventory = source.server.get(INVENTORY).await.unwrap();
    let held: Value = serde_json::from_str(inventory["data"]["held"].as_str().unwrap()).unwrap();
    assert_eq!(held["names"], json!(["Service default/web"]));
    let annotations = json!({ "clos.dev/confirmed-removals": held["token"] });
    source
        .server
        .merge(
            INVENTORY,
            &json!({ "metadata": { "annotations": annotations } }),
        )
        .await;
    source.until_image("web", None).await;
    source
        .until(|status| status.state == SourceState::Synced)
        .await;
    let inventory = source.server.get(INVENTORY).await.unwrap();
    assert_eq!(inventory["data"]["held"], Value::Null);
    assert_eq!(
        inventory["metadata"]["annotations"]["clos.dev/confirmed-removals"],
        Value::Null
    );
    source.stop().await;
}

#[tokio::test]
async fn i8_a_folder_that_is_gone_prunes_nothing_and_is_watched_again_when_it_is_back() {
    let mut source = Running::on(&[("web.yaml", &service("web", "a"))], OFTEN).await;
    let aside = source.path().with_extension("aside");
    fs::rename(source.path(), &aside).unwrap();
    let status = source
        .until(|status| status.state == SourceState::Mistaken)
        .await;
    assert!(
        status.mistakes[0].message.starts_with("cannot be read: "),
        "{:?}",
        status.mistakes
    );
    assert!(source.server.service("web").await.is_some());
    fs::rename(&aside, source.path()).unwrap();
    source
        .until(|status| status.state == SourceState::Synced)
        .await;
    source.write("web.yaml", &service("web", "b"));
    source.until_image("web", Some("b")).await;
    source.stop().await;
}

#[tokio::test]
async fn i8_a_file_that_was_emptied_prunes_nothing_and_one_of_comments_says_that_its_objects_go() {
    let files = [
        ("web.yaml", &*service("web", "a")),
        ("db.yaml", &*service("db", "a")),
        ("lab.yaml", &*service("lab", "a")),
        ("cache.yaml", &*service("cache", "a")),
        ("queue.yaml", &*service("queue", "a")),
    ];
    let mut source = Running::on(&files, OFTEN).await;
    for empty in ["", "\n \n"] {
        source.write("db.yaml", empty);
        let status = source
            .until(|status| status.state == SourceState::Mistaken)
            .await;
        assert!(
            status.mistakes[0]
                .to_string()
                .ends_with("db.yaml: is empty; remove the file if what it declared shall go"),
            "{:?}",
            status.mistakes
        );
        source.looks(2).await;
        assert!(source.server.service("db").await.is_some());
        source.write("db.yaml", &service("db", "a"));
        source
            .until(|status| status.state == SourceState::Synced)
            .await;
    }
    source.write("db.yaml", "# not needed any more\n");
    source.until_image("db", None).await;
    source.stop().await;
}

#[tokio::test]
async fn i7_a_mistake_keeps_the_last_good_declarations_and_i8_prunes_nothing() {
    let mut source = Running::on(
        &[
            ("web.yaml", &service("web", "a")),
            ("db.yaml", &service("db", "a")),
        ],
        NEVER,
    )
    .await;
    fs::remove_file(source.path().join("db.yaml")).unwrap();
    source.write("web.yaml", "apiVersion: clos.dev/v1alpha1\nkind: Service\nmetadata: { name: web }\nspec: { group: shop, image: [");
    let status = source
        .until(|status| status.state == SourceState::Mistaken)
        .await;
    assert_eq!(status.mistakes.len(), 1);
    assert_eq!(status.mistakes[0].line, Some(4));
    assert_eq!(
        source.server.service("web").await.unwrap()["spec"]["image"],
        "a"
    );
    assert!(source.server.service("db").await.is_some());
    source.write("web.yaml", &service("web", "b"));
    source.until_image("db", None).await;
    assert_eq!(
        source.server.service("web").await.unwrap()["spec"]["image"],
        "b"
    );
    source.stop().await;
}

#[tokio::test]
async fn i2_looking_again_at_an_unchanged_folder_writes_nothing() {
    let mut source = Running::on(&[("web.yaml", &service("web", "a"))], OFTEN).await;
    source
        .until(|status| status.state == SourceState::Synced)
        .await;
    let before = source.server.writes();
    source.looks(3).await;
    assert_eq!(source.server.writes(), before);
    source.stop().await;
}

#[tokio::test]
async fn what_others_do_to_declared_fields_is_mended_and_the_rest_is_left_alone() {
    let source = Running::on(
        &[
            ("web.yaml", &service("web", "a")),
            ("db.yaml", &service("db", "a")),
        ],
        OFTEN,
    )
    .await;
    source.until_image("web", Some("a")).await;
    source
        .server
        .merge(
            &format!("{SERVICES}/web"),
            &json!({ "spec": { "image": "evil", "replicas": 4 } }),
        )
        .await;
    source.server.delete(&format!("{SERVICES}/db")).await;
    source.until_image("web", Some("a")).await;
    source.until_image("db", Some("a")).await;
    assert_eq!(
        source.server.service("web").await.unwrap()["spec"]["replicas"],
        4
    );
    source.stop().await;
}

#[tokio::test]
async fn a_mounted_config_map_that_is_swapped_is_applied() {
    let source = Running::on(&[], NEVER).await;
    for (version, image) in [("..1", "a"), ("..2", "b")] {
        fs::create_dir(source.path().join(version)).unwrap();
        source.write(&format!("{version}/web.yaml"), &service("web", image));
    }
    symlink("..1", source.path().join("..data")).unwrap();
    symlink("..data/web.yaml", source.path().join("web.yaml")).unwrap();
    source.until_image("web", Some("a")).await;
    symlink("..2", source.path().join("..data_tmp")).unwrap();
    fs::rename(
        source.path().join("..data_tmp"),
        source.path().join("..data"),
    )
    .unwrap();
    source.until_image("web", Some("b")).await;
    source.stop().await;
}
