//! The real `kubectl` against the API on a socket. Where there is none, the test is passed over, except in CI.

use std::path::{Path, PathBuf};
use std::process::Output;

use clos_apiserver::Limits;
use tokio::process::Command;

use crate::socket::Listening;

struct Kubectl {
    config: PathBuf,
    folder: PathBuf,
}

impl Kubectl {
    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program());
        command
            .arg("--kubeconfig")
            .arg(&self.config)
            .arg("--cache-dir")
            .arg(self.folder.join("cache"))
            .args(arguments);
        command.env("HOME", &self.folder).output().await.unwrap()
    }

    /// What a command prints, whose success is expected.
    async fn prints(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(
            output.status.success(),
            "kubectl {}: {err}",
            arguments.join(" ")
        );
        out.into_owned()
    }
}

/// The kubectl that `make test` found or built; the one on the PATH when the test is run by hand.
#[expect(
    clippy::disallowed_methods,
    reason = "how make test says which kubectl to use"
)]
fn program() -> String {
    std::env::var("KUBECTL").unwrap_or_else(|_| "kubectl".to_owned())
}

async fn is_there() -> bool {
    Command::new(program())
        .args(["version", "--client"])
        .output()
        .await
        .is_ok_and(|output| output.status.success())
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "one session, as a user has it")]
async fn kubectl_creates_applies_prints_edits_waits_and_deletes() {
    if !is_there().await {
        #[expect(
            clippy::disallowed_methods,
            reason = "only CI promises that kubectl is there"
        )]
        let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(
            !ci,
            "kubectl is not on the PATH, and CI must test against it"
        );
        return;
    }
    let listening = Listening::new(Limits::default()).await;
    let folder = listening.folder.path().to_owned();
    let config = PathBuf::from(write(
        &folder,
        "kubeconfig",
        &listening.kubeconfig("admin", "system:masters"),
    ));
    let kubectl = Kubectl {
        config,
        folder: folder.clone(),
    };

    let version = kubectl.prints(&["version"]).await;
    assert!(
        version.contains("Server Version: v1.36.0+clos"),
        "{version}"
    );
    let resources = kubectl.prints(&["api-resources", "-o", "name"]).await;
    for name in [
        "widgets.example.dev",
        "namespaces",
        "events.events.k8s.io",
        "leases.coordination.k8s.io",
    ] {
        assert!(
            resources.lines().any(|line| line == name),
            "{name} is missing in\n{resources}"
        );
    }

    let manifest = write(
        &folder,
        "w.yaml",
        "apiVersion: example.dev/v1\nkind: Widget\nmetadata: { name: w }\nspec: { size: 2 }\n",
    );
    assert_eq!(
        kubectl.prints(&["create", "-f", &manifest]).await,
        "widget.example.dev/w created\n"
    );
    let table = kubectl.prints(&["get", "wd"]).await;
    assert_eq!(table, "NAME   SIZE\nw      2\n");
    assert_eq!(
        kubectl.prints(&["get", "all", "-o", "name"]).await,
        "widget.example.dev/w\n"
    );
    let changed = write(
        &folder,
        "w2.yaml",
        "apiVersion: example.dev/v1\nkind: Widget\nmetadata: { name: w }\nspec: { size: 3 }\n",
    );
    assert_eq!(
        kubectl.prints(&["apply", "-f", &changed]).await,
        "widget.example.dev/w configured\n"
    );
    assert_eq!(
        kubectl.prints(&["apply", "-f", &changed]).await,
        "widget.example.dev/w unchanged\n"
    );
    assert_eq!(
        kubectl.prints(&["scale", "widget/w", "--replicas=4"]).await,
        "widget.example.dev/w scaled\n"
    );
    assert_eq!(
        kubectl
            .prints(&["get", "wd", "w", "-o", "jsonpath={.spec.replicas}"])
            .await,
        "4"
    );
    assert_eq!(
        kubectl.prints(&["label", "wd", "w", "tier=front"]).await,
        "widget.example.dev/w labeled\n"
    );
    assert!(
        kubectl
            .prints(&["describe", "wd", "w"])
            .await
            .contains("Size:      3")
    );
    assert!(
        kubectl
            .prints(&["explain", "widget.spec"])
            .await
            .contains("size\t<integer>")
    );
    assert_eq!(
        kubectl
            .prints(&[
                "wait",
                "wd/w",
                "--for=jsonpath={.spec.size}=3",
                "--timeout=10s"
            ])
            .await,
        "widget.example.dev/w condition met\n"
    );

    let established = [
        "wait",
        "crd/widgets.example.dev",
        "--for=condition=Established",
        "--timeout=10s",
    ];
    assert_eq!(
        kubectl.prints(&established).await,
        "customresourcedefinition.apiextensions.k8s.io/widgets.example.dev condition met\n"
    );
    let namespaces = kubectl
        .prints(&[
            "get",
            "ns",
            "--no-headers",
            "-o",
            "custom-columns=N:.metadata.name",
        ])
        .await;
    assert_eq!(namespaces, "clos-system\ndefault\nkube-system\n");

    let wrong = write(
        &folder,
        "x.yaml",
        "apiVersion: example.dev/v1\nkind: Widget\nmetadata: { name: x }\nspec: { size: 2, colour: red }\n",
    );
    let refused = kubectl.run(&["create", "-f", &wrong]).await;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("unknown field \"spec.colour\""), "{told}");

    let map = write(
        &folder,
        "cm.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: cm }\ndata: { a: b }\n",
    );
    assert_eq!(
        kubectl.prints(&["apply", "-f", &map]).await,
        "configmap/cm created\n"
    );
    let map = write(
        &folder,
        "cm.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: cm }\ndata: { c: d }\n",
    );
    assert_eq!(
        kubectl.prints(&["apply", "-f", &map]).await,
        "configmap/cm configured\n"
    );
    assert_eq!(
        kubectl
            .prints(&["get", "cm", "cm", "-o", "jsonpath={.data}"])
            .await,
        "{\"c\":\"d\"}"
    );
    assert_eq!(
        kubectl
            .prints(&["delete", "wd", "w", "--timeout=20s"])
            .await,
        "widget.example.dev \"w\" deleted\n"
    );
    assert_eq!(kubectl.prints(&["get", "wd", "-o", "name"]).await, "");
}
