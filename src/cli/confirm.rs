//! `clos confirm`: shows what a guard holds back from being removed, and confirms exactly that. The guards are in planning and in the sources.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal};

use anyhow::{Context, bail};
use clos_resources::Host;
use clos_resources::names::{ANNOTATION_CONFIRMED_REMOVALS, SYSTEM_NAMESPACE};
use clos_resources::removals::Removals;
use clos_sources::sync::Inventory;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::Ending;
use crate::args::{ConfirmArgs, Connection};
use crate::output;

/// Removals that wait, and for whom.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Waiting {
    /// Where they are reported, and confirmed.
    place: Place,
    /// Which they are.
    removals: Removals,
}

/// Where removals are reported.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// Containers without an Instance, on a Host.
    Host(String),
    /// Objects that a source declares no more.
    Source(String),
}

pub(crate) async fn run(connection: &Connection, args: ConfirmArgs) -> anyhow::Result<Ending> {
    let client = connection.client().await?;
    let mut waiting = look(&client).await?;
    choose(&mut waiting, &args.what)?;
    if waiting.is_empty() {
        output::line("Nothing waits for a confirmation.")?;
        return Ok(Ending::Done);
    }
    for removals in &waiting {
        output::print(&removals.to_string())?;
    }
    if !args.yes {
        let may_ask = io::stdin().is_terminal() && io::stderr().is_terminal();
        if !may_ask {
            output::note("Nothing was confirmed. To confirm what stands here: clos confirm --yes")?;
            return Ok(Ending::NotAsAsked);
        }
        if !output::agreed("Remove them now? [y/N] ", &mut io::stdin().lock())? {
            output::line("Nothing was confirmed.")?;
            return Ok(Ending::NotAsAsked);
        }
    }
    for removals in &waiting {
        confirm(&client, removals).await?;
        output::line(&format!("confirmed for {}", removals.place))?;
    }
    Ok(Ending::Done)
}

/// Everything that waits: on Hosts, then of sources.
pub(crate) async fn look(client: &Client) -> anyhow::Result<Vec<Waiting>> {
    let everything = ListParams::default();
    let hosts = Api::<Host>::all(client.clone())
        .list(&everything)
        .await
        .context("cannot list the hosts")?;
    let maps = Api::<ConfigMap>::namespaced(client.clone(), SYSTEM_NAMESPACE)
        .list(&everything)
        .await
        .context("cannot list the sources")?;
    let hosts = hosts.items.into_iter().filter_map(|host| {
        Some(Waiting {
            place: Place::Host(host.name_any()),
            removals: host.status?.orphans?,
        })
    });
    let sources = maps.items.into_iter().filter_map(|map| {
        let name = map.name_any();
        let source = name.strip_prefix(&Inventory::config_map(""))?;
        let (held, _) = Inventory::guard(&serde_json::to_value(&map).ok()?);
        Some(Waiting {
            place: Place::Source(source.to_owned()),
            removals: held?,
        })
    });
    Ok(hosts.chain(sources).collect())
}

/// Keeps what was asked for, when something was.
fn choose(waiting: &mut Vec<Waiting>, wanted: &[String]) -> anyhow::Result<()> {
    for what in wanted {
        if !waiting
            .iter()
            .any(|removals| removals.place.to_string() == *what)
        {
            bail!("nothing of {what} waits for a confirmation; see what does with: clos confirm");
        }
    }
    if !wanted.is_empty() {
        waiting.retain(|removals| wanted.contains(&removals.place.to_string()));
    }
    Ok(())
}

/// Confirms what was shown, and nothing that came later.
async fn confirm(client: &Client, waiting: &Waiting) -> anyhow::Result<()> {
    let token = &waiting.removals.token;
    let patch = Patch::Merge(
        json!({ "metadata": { "annotations": { ANNOTATION_CONFIRMED_REMOVALS: token } } }),
    );
    let params = PatchParams {
        field_manager: Some("clos-confirm".to_owned()),
        ..PatchParams::default()
    };
    let confirmed = match &waiting.place {
        Place::Host(name) => Api::<Host>::all(client.clone())
            .patch(name, &params, &patch)
            .await
            .map(drop),
        Place::Source(name) => Api::<ConfigMap>::namespaced(client.clone(), SYSTEM_NAMESPACE)
            .patch(&Inventory::config_map(name), &params, &patch)
            .await
            .map(drop),
    };
    confirmed.with_context(|| format!("cannot confirm the removals of {}", waiting.place))
}

impl Waiting {
    /// One line, when somebody must do something about it.
    pub(crate) fn headline(&self) -> Option<String> {
        self.removals
            .held
            .then(|| format!("{}: {}; see: clos confirm", self.place, self.what()))
    }

    fn what(&self) -> String {
        let (count, of) = (self.removals.count, self.removals.of);
        match &self.place {
            Place::Host(_) => {
                format!("{count} of {of} containers belong to instances that do not exist any more")
            }
            Place::Source(_) => format!("{count} of {of} objects are no longer declared"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => write!(f, "host/{name}"),
            Self::Source(name) => write!(f, "source/{name}"),
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fate = if self.removals.held {
            "None is removed until you confirm it"
        } else {
            "They are removed after 5 minutes, or as soon as you confirm it"
        };
        writeln!(f, "{}: {}. {fate}:", self.place, self.what())?;
        for name in &self.removals.names {
            writeln!(f, "  {name}")?;
        }
        match self.removals.unnamed() {
            0 => Ok(()),
            more => writeln!(f, "  and {more} more"),
        }
    }
}

/// The places where something waits, for completion.
pub(crate) async fn places(client: &Client) -> Vec<String> {
    let waiting = look(client).await.unwrap_or_default();
    waiting
        .iter()
        .map(|removals| removals.place.to_string())
        .collect()
}

/// All headlines, one a line.
pub(crate) fn headlines(waiting: &[Waiting]) -> String {
    let mut text = String::new();
    for headline in waiting.iter().filter_map(Waiting::headline) {
        let _ = writeln!(text, "{headline}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clos_resources::host::{HostSpec, HostStatus};
    use kube::api::PostParams;

    use super::*;
    use crate::tests::server;

    fn removals(count: usize, of: usize, held: bool) -> Removals {
        let going: BTreeMap<String, String> = (0..count)
            .map(|number| {
                (
                    format!("id-{number:02}"),
                    format!("clos_default_web-{number:02}"),
                )
            })
            .collect();
        Removals::new(&going, of, held)
    }

    fn on_host(removals: Removals) -> Waiting {
        Waiting {
            place: Place::Host("box".to_owned()),
            removals,
        }
    }

    /// A server on which a Host and a source have something that waits.
    async fn waiting() -> Client {
        let client = server().await;
        let hosts: Api<Host> = Api::all(client.clone());
        let host = Host::new("box", HostSpec::default());
        hosts.create(&PostParams::default(), &host).await.unwrap();
        let status = HostStatus {
            orphans: Some(removals(6, 8, true)),
            ..HostStatus::default()
        };
        let patch = Patch::Merge(json!({ "status": status }));
        hosts
            .patch_status("box", &PatchParams::default(), &patch)
            .await
            .unwrap();
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
        let held = serde_json::to_string(&removals(5, 5, true)).unwrap();
        for (name, data) in [
            ("source-shop", json!({ "objects": "{}", "held": held })),
            ("source-lab", json!({ "objects": "{}" })),
            ("something-else", json!({ "held": held })),
        ] {
            let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": data });
            maps.create(
                &PostParams::default(),
                &serde_json::from_value(map).unwrap(),
            )
            .await
            .unwrap();
        }
        client
    }

    #[test]
    fn what_waits_is_named_with_what_becomes_of_it() {
        insta::assert_snapshot!(on_host(removals(2, 15, false)).to_string(), @r"
        host/box: 2 of 15 containers belong to instances that do not exist any more. They are removed after 5 minutes, or as soon as you confirm it:
          clos_default_web-00
          clos_default_web-01
        ");
        let source = Waiting {
            place: Place::Source("shop".to_owned()),
            removals: removals(1, 1, true),
        };
        insta::assert_snapshot!(source.to_string(), @r"
        source/shop: 1 of 1 objects are no longer declared. None is removed until you confirm it:
          clos_default_web-00
        ");
        let many = on_host(removals(23, 30, true)).to_string();
        assert!(
            many.ends_with("  clos_default_web-19\n  and 3 more\n"),
            "{many}"
        );
    }

    #[test]
    fn only_what_is_held_back_is_a_headline() {
        let all = [
            on_host(removals(6, 8, true)),
            on_host(removals(2, 15, false)),
        ];
        assert_eq!(
            headlines(&all),
            "host/box: 6 of 8 containers belong to instances that do not exist any more; see: clos confirm\n"
        );
    }

    #[tokio::test]
    async fn hosts_and_sources_are_looked_at_and_nothing_else() {
        let client = waiting().await;
        assert_eq!(places(&client).await, ["host/box", "source/shop"]);
        let mut some = look(&client).await.unwrap();
        choose(&mut some, &["source/shop".to_owned()]).unwrap();
        assert_eq!(some.len(), 1);
        let error = choose(&mut some, &["source/lab".to_owned()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "nothing of source/lab waits for a confirmation; see what does with: clos confirm"
        );
    }

    #[tokio::test]
    async fn a_confirmation_carries_the_token_of_what_was_shown() {
        let client = waiting().await;
        let shown = look(&client).await.unwrap();
        for waiting in &shown {
            confirm(&client, waiting).await.unwrap();
        }
        let host = Api::<Host>::all(client.clone()).get("box").await.unwrap();
        let map = Api::<ConfigMap>::namespaced(client, SYSTEM_NAMESPACE)
            .get("source-shop")
            .await
            .unwrap();
        for (annotations, waiting) in [host.annotations(), map.annotations()].iter().zip(&shown) {
            assert_eq!(
                annotations[ANNOTATION_CONFIRMED_REMOVALS],
                waiting.removals.token
            );
        }
    }
}
