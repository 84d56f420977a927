//! `clos down`: removes groups with everything clos made for them. It deletes objects and leaves containers and networks to the server;
//! only volumes, which no plan may remove, it removes itself and only when asked to. What goes and what stays is worked out in [`removal`].

mod removal;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clos_engine::Engine;
use clos_engine::docker::{DockerEngine, VolumeRemoval};
use clos_resources::{Group, Instance, Service};
use clos_telemetry::Chain;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::Ending;
use crate::args::{Connection, DownArgs};
use crate::live::{Live, is_final};
use crate::output;
use removal::{Going, Removal, Wanted, removal};

pub(crate) async fn run(connection: &Connection, args: DownArgs) -> anyhow::Result<Ending> {
    let may_ask = io::stdin().is_terminal() && io::stderr().is_terminal();
    if !args.yes && !may_ask {
        bail!(
            "clos down removes containers and there is no terminal to ask on; give --yes to remove without asking. Nothing was removed"
        );
    }
    let client = connection.client().await?;
    let wanted = if args.all {
        Wanted::All
    } else {
        Wanted::Named {
            namespace: &args.namespace,
            groups: &args.groups,
        }
    };
    let removal = look(&client, wanted).await?;
    if removal.is_empty() {
        output::line("There are no groups and no services. Nothing was removed.")?;
        return Ok(Ending::Done);
    }
    // Whether volumes can be removed is found out before anything is.
    let engine = if args.volumes {
        Some(reachable(connection).await?)
    } else {
        None
    };
    output::note(removal.announce(args.volumes).trim_end())?;
    if !args.yes && !output::agreed("Remove? [y/N] ", &mut io::stdin().lock())? {
        output::line("Nothing was removed.")?;
        return Ok(Ending::NotAsAsked);
    }
    delete(&client, &removal).await?;
    match wait(&client, &removal, args.timeout.get()).await? {
        Gone::Everything => {}
        Gone::Interrupted => {
            output::note(
                "\nStopped waiting. What was deleted stays deleted, and clos goes on removing it. See: clos status",
            )?;
            return Ok(Ending::Interrupted);
        }
        Gone::NotYet(left) => {
            output::note(&overdue(&args.timeout.to_string(), &left))?;
            return Ok(Ending::Deadline);
        }
    }
    match engine {
        Some(engine) => remove_volumes(&client, &engine, &removal).await,
        None => Ok(Ending::Done),
    }
}

async fn look(client: &Client, wanted: Wanted<'_>) -> anyhow::Result<Removal> {
    let everything = ListParams::default();
    let groups = Api::<Group>::all(client.clone())
        .list(&everything)
        .await
        .context("cannot list the groups")?
        .items;
    let services = Api::<Service>::all(client.clone())
        .list(&everything)
        .await
        .context("cannot list the services")?
        .items;
    let instances = Api::<Instance>::all(client.clone())
        .list(&everything)
        .await
        .context("cannot list the instances")?
        .items;
    removal(wanted, &groups, &services, &instances).map_err(anyhow::Error::msg)
}

async fn reachable(connection: &Connection) -> anyhow::Result<DockerEngine> {
    let engine = connection.engine()?;
    engine
        .info()
        .await
        .context("cannot remove volumes; nothing was removed")?;
    Ok(engine)
}

/// Deletes the Services, then the Groups.
async fn delete(client: &Client, removal: &Removal) -> anyhow::Result<()> {
    for service in &removal.services {
        delete_one::<Service>(client, service).await?;
    }
    for group in &removal.groups {
        delete_one::<Group>(client, group).await?;
    }
    Ok(())
}

/// Deletes one object, unless it is gone or another one has its name.
async fn delete_one<K>(client: &Client, going: &Going) -> anyhow::Result<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug,
{
    let only_this = Preconditions {
        uid: Some(going.uid.clone()),
        resource_version: None,
    };
    let params = DeleteParams {
        preconditions: Some(only_this),
        ..DeleteParams::background()
    };
    match Api::<K>::namespaced(client.clone(), &going.namespace)
        .delete(&going.name, &params)
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(error).with_context(|| {
            format!(
                "cannot delete {} {}",
                K::kind(&()).to_lowercase(),
                going.name
            )
        }),
    }
}

/// What is gone.
#[derive(Debug, PartialEq, Eq)]
enum Gone {
    /// Everything.
    Everything,
    /// Not all of it when somebody pressed Ctrl-C.
    Interrupted,
    /// Not this, with what it waits for, when the deadline had passed.
    NotYet(BTreeMap<String, String>),
}

/// Waits until everything is gone, and says of each thing when it is.
async fn wait(client: &Client, removal: &Removal, timeout: Duration) -> anyhow::Result<Gone> {
    let namespaces: BTreeSet<String> = removal
        .services
        .iter()
        .chain(&removal.groups)
        .map(|going| going.namespace.clone())
        .collect();
    let mut live = Live::of(client, &namespaces);
    let style = ProgressStyle::with_template("{spinner} {wide_msg}")
        .expect("this template is written here and is right");
    let spinner = ProgressBar::new_spinner().with_style(style);
    spinner.set_draw_target(if io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    });
    spinner.enable_steady_tick(Duration::from_millis(100));
    let gone = follow(&mut live, removal, timeout, &spinner).await;
    spinner.finish_and_clear();
    gone
}

async fn follow(
    live: &mut Live,
    removal: &Removal,
    timeout: Duration,
    spinner: &ProgressBar,
) -> anyhow::Result<Gone> {
    let deadline = Instant::now() + timeout;
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let mut before: BTreeMap<String, String> = BTreeMap::new();
    loop {
        if let Some(snapshot) = live.snapshot() {
            let left = removal.left(
                snapshot.groups.iter().map(Arc::as_ref),
                snapshot.services.iter().map(Arc::as_ref),
                snapshot.instances.iter().map(Arc::as_ref),
            );
            for name in before.keys().filter(|name| !left.contains_key(*name)) {
                spinner.suspend(|| output::line(&format!("{name} removed")))?;
            }
            if left.is_empty() {
                return Ok(Gone::Everything);
            }
            spinner.set_message(format!(
                "waiting for {}",
                left.keys().cloned().collect::<Vec<_>>().join(", ")
            ));
            before = left;
        }
        tokio::select! {
            change = live.changed() => match change {
                Err(error) if is_final(&error) => return Err(error.into()),
                Err(error) => spinner.set_message(format!("the server does not answer, trying again: {}", Chain(&error))),
                Ok(()) => {}
            },
            () = tokio::time::sleep_until(deadline) => return Ok(Gone::NotYet(before)),
            _ = &mut interrupt => return Ok(Gone::Interrupted),
        }
    }
}

fn overdue(after: &str, left: &BTreeMap<String, String>) -> String {
    let lines: Vec<String> = left
        .iter()
        .map(|(name, why)| {
            if why.is_empty() {
                format!("  {name}")
            } else {
                format!("  {name}: {why}")
            }
        })
        .collect();
    format!(
        "Not removed after {after}:\n{}\nclos goes on with it. Volumes were not removed. See: clos status",
        lines.join("\n")
    )
}

/// Removes the volumes that only the removed Services declared, and says of each what became of it.
async fn remove_volumes(
    client: &Client,
    engine: &DockerEngine,
    removal: &Removal,
) -> anyhow::Result<Ending> {
    let system = Api::<Namespace>::all(client.clone())
        .get("kube-system")
        .await
        .context("cannot read the installation's id; no volume was removed")?;
    let installation = system
        .uid()
        .context("the server's namespace kube-system has no UID; no volume was removed")?;
    let mut ending = Ending::Done;
    for volume in &removal.volumes {
        match engine.remove_volume(volume, &installation).await {
            Ok(VolumeRemoval::Removed) => output::line(&format!("volume {volume} removed"))?,
            Ok(VolumeRemoval::Absent) => output::line(&format!("volume {volume} did not exist"))?,
            Ok(VolumeRemoval::Foreign) => output::line(&format!(
                "volume {volume} kept: this installation did not make it"
            ))?,
            Err(error) => {
                output::note(&format!("volume {volume} kept: {error}"))?;
                ending = Ending::NotAsAsked;
            }
        }
    }
    for (volume, service) in &removal.shared {
        output::line(&format!(
            "volume {volume} kept: service {service} has it, too"
        ))?;
    }
    Ok(ending)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::holding;

    const SHOP: &str = "\
apiVersion: clos.dev/v1alpha1
kind: Group
metadata: { name: shop }
spec: {}
---
apiVersion: clos.dev/v1alpha1
kind: Group
metadata: { name: lab }
spec: {}
---
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: { name: web }
spec: { group: shop, image: \"shop/web:1\" }
---
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: { name: other }
spec: { group: lab, image: \"lab/other:1\" }
";

    #[tokio::test]
    async fn the_group_and_its_services_go_and_others_stay() {
        let client = holding(SHOP).await;
        let removal = look(
            &client,
            Wanted::Named {
                namespace: "default",
                groups: &["shop".to_owned()],
            },
        )
        .await
        .unwrap();
        delete(&client, &removal).await.unwrap();
        assert_eq!(
            wait(&client, &removal, Duration::from_secs(20))
                .await
                .unwrap(),
            Gone::Everything
        );
        let services = Api::<Service>::default_namespaced(client.clone())
            .list(&ListParams::default())
            .await
            .unwrap();
        assert_eq!(
            services
                .items
                .iter()
                .map(ResourceExt::name_any)
                .collect::<Vec<_>>(),
            ["other"]
        );
        assert_eq!(
            Api::<Group>::default_namespaced(client)
                .get_opt("shop")
                .await
                .unwrap(),
            None
        );
    }

    #[tokio::test]
    async fn at_the_deadline_what_is_left_is_named() {
        let client = holding(SHOP).await;
        let removal = look(&client, Wanted::All).await.unwrap();
        let Gone::NotYet(left) = wait(&client, &removal, Duration::from_millis(300))
            .await
            .unwrap()
        else {
            panic!("nothing was deleted")
        };
        insta::assert_snapshot!(overdue("300ms", &left), @r"
        Not removed after 300ms:
          group lab
          group shop
          service other
          service web
        clos goes on with it. Volumes were not removed. See: clos status
        ");
    }

    #[tokio::test]
    async fn an_object_that_was_made_anew_meanwhile_is_not_deleted() {
        let client = holding(SHOP).await;
        let stale = Going {
            namespace: "default".to_owned(),
            name: "web".to_owned(),
            uid: "an-older-one".to_owned(),
        };
        delete_one::<Service>(&client, &stale).await.unwrap();
        assert!(
            Api::<Service>::default_namespaced(client)
                .get_opt("web")
                .await
                .unwrap()
                .is_some()
        );
    }
}
