//! `clos apply`: everything that is declared is checked before anything is touched, then created or changed. It never removes; waiting is
//! in `wait`.

use std::collections::BTreeSet;
use std::io;

use anyhow::Context;
use clos_engine::Engine;
use clos_resources::API_GROUP;
use clos_sources::{DesiredSet, Manifests, ObjectKey, Outcome, Report, SyncOptions};
use clos_telemetry::Chain;
use kube::Client;

use crate::Ending;
use crate::args::{ApplyArgs, Connection};
use crate::declared::{self, Looked};
use crate::output;
use crate::wait::{self, Subject, Wait};

pub(crate) async fn run(connection: &Connection, args: ApplyArgs) -> anyhow::Result<Ending> {
    let manifests = declared::read(&args.filename, &mut io::stdin().lock())?;
    let client = connection.client().await?;
    let applied = match apply(&client, manifests, &mut |line| output::line(&line)).await? {
        Applied::Mistakes(text) => {
            output::note(&text)?;
            return Ok(Ending::NotAsAsked);
        }
        Applied::Partly(failures) => {
            for failure in failures {
                output::note(&failure)?;
            }
            return Ok(Ending::NotAsAsked);
        }
        Applied::All {
            subjects,
            values_changed,
        } => Wait {
            subjects,
            values_changed,
            timeout: args.timeout,
        },
    };
    if !args.wait || applied.subjects.is_empty() {
        return Ok(Ending::Done);
    }
    let engine = connection.engine();
    let engine = match &engine {
        Ok(engine) => Ok(engine as &dyn Engine),
        Err(error) => Err(error.to_string()),
    };
    wait::until_as_declared(
        &client,
        engine.as_ref().copied().map_err(String::as_str),
        applied,
    )
    .await
}

/// What became of applying.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// Everything is as declared at the server.
    All {
        /// The Services and Groups among it.
        subjects: BTreeSet<Subject>,
        /// Whether a `Secret` or `ConfigMap` was created or changed.
        values_changed: bool,
    },
    /// Nothing was touched; the user's mistakes.
    Mistakes(String),
    /// Some objects could not be applied: a sentence for each.
    Partly(Vec<String>),
}

/// Applies what is declared and prints a line an object.
pub(crate) async fn apply(
    client: &Client,
    manifests: Manifests,
    print: &mut (dyn FnMut(String) -> anyhow::Result<()> + Send),
) -> anyhow::Result<Applied> {
    let desired = declared::set(client, manifests).await?;
    let options = SyncOptions::default();
    let prepared = match declared::look(client, &desired, &options).await? {
        Looked::Sound(prepared) => prepared,
        Looked::Mistakes(mistakes) => return Ok(Applied::Mistakes(mistakes.to_string())),
    };
    let mut printed = Ok(());
    let report = clos_sources::apply(client, &prepared, &mut |key, result| {
        if let (Ok(outcome), Ok(())) = (result, &printed) {
            printed = print(line(key, outcome));
        }
    })
    .await;
    printed.context("cannot print what was applied")?;
    let mut failures = failures(&report);
    failures.extend(prepared.plan().leaving.iter().map(|key| {
        format!(
            "{} is being deleted; apply again when it is gone",
            short(key)
        )
    }));
    if failures.is_empty() {
        Ok(Applied::All {
            subjects: subjects(&desired),
            values_changed: values_changed(&report),
        })
    } else {
        failures.push(
            "The other objects stay as they are now; applying again goes on where this ended."
                .to_owned(),
        );
        Ok(Applied::Partly(failures))
    }
}

/// `service/web created`
fn line(key: &ObjectKey, outcome: Outcome) -> String {
    format!("{} {outcome}", short(key))
}

/// `service/web`, with the namespace behind it when it is not the default one.
fn short(key: &ObjectKey) -> String {
    let kind = key.kind.to_lowercase();
    match key.namespace.as_deref() {
        None | Some("default") => format!("{kind}/{}", key.name),
        Some(namespace) => format!("{kind}/{} in {namespace}", key.name),
    }
}

fn failures(report: &Report) -> Vec<String> {
    report
        .failures
        .iter()
        .map(|failure| Chain(failure).to_string())
        .collect()
}

/// The Services and Groups that are declared.
fn subjects(desired: &DesiredSet) -> BTreeSet<Subject> {
    let of_ours = desired.objects.keys().filter(|key| key.group == API_GROUP);
    of_ours
        .filter_map(|key| {
            let (namespace, name) = (key.namespace.clone()?, key.name.clone());
            match key.kind.as_str() {
                "Service" => Some(Subject::Service { namespace, name }),
                "Group" => Some(Subject::Group { namespace, name }),
                _ => None,
            }
        })
        .collect()
}

fn values_changed(report: &Report) -> bool {
    report.outcomes.iter().any(|(key, outcome)| {
        let holds_values =
            key.group.is_empty() && matches!(key.kind.as_str(), "Secret" | "ConfigMap");
        holds_values && matches!(outcome, Outcome::Created | Outcome::Configured)
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use kube::Api;

    use super::*;
    use crate::tests::server;

    const SHOP: &str = "\
apiVersion: clos.dev/v1alpha1
kind: Group
metadata: { name: shop }
spec: {}
---
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: { name: web }
spec: { group: shop, image: \"shop/web:1\" }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: conf }
data: { a: b }
";

    fn manifests(text: &str) -> Manifests {
        let mut manifests = Manifests::default();
        manifests.read(Path::new("shop/web.yaml"), text.as_bytes());
        manifests
    }

    async fn applied(client: &Client, text: &str) -> (Applied, Vec<String>) {
        let mut lines = Vec::new();
        let applied = apply(client, manifests(text), &mut |line| {
            lines.push(line);
            Ok(())
        })
        .await
        .unwrap();
        (applied, lines)
    }

    #[tokio::test]
    async fn each_object_has_a_line_that_says_what_became_of_it() {
        let client = server().await;
        let (first, lines) = applied(&client, SHOP).await;
        let subjects = BTreeSet::from([
            Subject::Service {
                namespace: "default".to_owned(),
                name: "web".to_owned(),
            },
            Subject::Group {
                namespace: "default".to_owned(),
                name: "shop".to_owned(),
            },
        ]);
        assert_eq!(
            first,
            Applied::All {
                subjects: subjects.clone(),
                values_changed: true
            }
        );
        assert_eq!(
            lines,
            [
                "configmap/conf created",
                "group/shop created",
                "service/web created"
            ]
        );

        let (second, mut lines) = applied(&client, &SHOP.replace("shop/web:1", "shop/web:2")).await;
        lines.sort();
        assert_eq!(
            second,
            Applied::All {
                subjects,
                values_changed: false
            }
        );
        assert_eq!(
            lines,
            [
                "configmap/conf unchanged",
                "group/shop unchanged",
                "service/web configured"
            ]
        );
    }

    #[tokio::test]
    async fn i12_every_mistake_is_told_at_once_and_nothing_is_touched() {
        let client = server().await;
        let wrong = SHOP.replace("image: \"shop/web:1\"", "imagee: x, replicas: -1")
            + "---\nkind: Secret\n";
        let (applied, lines) = applied(&client, &wrong).await;
        let Applied::Mistakes(text) = applied else {
            panic!("{applied:?}")
        };
        insta::assert_snapshot!(text);
        assert_eq!(lines, Vec::<String>::new());
        assert_eq!(
            Api::<clos_resources::Group>::default_namespaced(client)
                .get_opt("shop")
                .await
                .unwrap(),
            None
        );
    }

    #[tokio::test]
    async fn i12_a_value_that_is_none_of_the_allowed_ones_hides_no_other_mistake() {
        let client = server().await;
        let wrong = "apiVersion: clos.dev/v1alpha1\nkind: Service\nmetadata: { name: web }\nspec:\n  group: shopp\n  image: a\n  state: Paused\n  \
                     stopGracePeriod: soon\n  ports:\n  - { containerPort: 80, hostPort: 80000 }\n";
        let (found, _) = applied(&client, wrong).await;
        let Applied::Mistakes(text) = found else {
            panic!("{found:?}")
        };
        insta::assert_snapshot!(text);
        // A group that is there already need not be declared again.
        let (_, lines) = applied(&client, SHOP.split("---").next().unwrap()).await;
        assert_eq!(lines, ["group/shop created"]);
        let right = "apiVersion: clos.dev/v1alpha1\nkind: Service\nmetadata: { name: web }\nspec: { group: shop, image: a }\n";
        let (_, lines) = applied(&client, right).await;
        assert_eq!(lines, ["service/web created"]);
    }

    #[tokio::test]
    async fn what_is_not_declared_any_more_is_not_removed() {
        let client = server().await;
        applied(&client, SHOP).await;
        let group_only = SHOP.split("---").next().unwrap();
        let (_, lines) = applied(&client, group_only).await;
        assert_eq!(lines, ["group/shop unchanged"]);
        assert!(
            Api::<clos_resources::Service>::default_namespaced(client)
                .get_opt("web")
                .await
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn files_and_standard_input_are_read_together_and_nothing_is_an_error() {
        let mut input = SHOP.as_bytes();
        let manifests = declared::read(&["-".into()], &mut input).unwrap();
        assert_eq!(manifests.objects.len(), 3);
        assert_eq!(manifests.objects[0].place(), "standard input:1");
        let nothing = declared::read(&["-".into()], &mut "".as_bytes())
            .unwrap_err()
            .to_string();
        assert_eq!(
            nothing,
            "nothing is declared in -; give files or folders with .yaml, .yml or .json files that declare objects"
        );
        let missing = declared::read(&["no/such/folder".into()], &mut "".as_bytes()).unwrap();
        assert_eq!(missing.mistakes.len(), 1);
    }
}
