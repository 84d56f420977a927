//! `clos restart`, `stop` and `start`: each writes desired state and leaves the doing to the server.

use clos_resources::lifecycle::State;
use clos_resources::names::ANNOTATION_RESTARTED_AT;
use clos_resources::{Group, Service};
use jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::Ending;
use crate::args::{Connection, TargetArgs};
use crate::connect::now;
use crate::output;

/// The name under which these changes appear in audit entries and managed fields.
const FIELD_MANAGER: &str = "clos";

pub(crate) async fn restart(connection: &Connection, args: TargetArgs) -> anyhow::Result<Ending> {
    run(connection, &args, Wish::Restart(now())).await
}

pub(crate) async fn stop(connection: &Connection, args: TargetArgs) -> anyhow::Result<Ending> {
    run(connection, &args, Wish::Stop).await
}

pub(crate) async fn start(connection: &Connection, args: TargetArgs) -> anyhow::Result<Ending> {
    run(connection, &args, Wish::Start).await
}

async fn run(connection: &Connection, args: &TargetArgs, wish: Wish) -> anyhow::Result<Ending> {
    let target = Target::parse(&args.target)?;
    let client = connection.client().await?;
    output::line(&write(&client, &args.namespace, target, wish).await?)?;
    Ok(Ending::Done)
}

/// What is wished.
#[derive(Clone, Copy, Debug)]
enum Wish {
    Restart(Timestamp),
    Stop,
    Start,
}

impl Wish {
    fn patch(self) -> Value {
        match self {
            Self::Restart(at) => {
                json!({"metadata": {"annotations": {ANNOTATION_RESTARTED_AT: at.to_string()}}})
            }
            Self::Stop => json!({"spec": {"state": "Stopped"}}),
            Self::Start => json!({"spec": {"state": "Running"}}),
        }
    }

    fn said(self) -> &'static str {
        match self {
            Self::Restart(_) => "will be restarted",
            Self::Stop => "is declared stopped",
            Self::Start => "is declared running",
        }
    }
}

/// What a target on the command line names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target<'a> {
    Service(&'a str),
    Group(&'a str),
}

impl<'a> Target<'a> {
    fn parse(text: &'a str) -> anyhow::Result<Self> {
        match text.split_once('/') {
            None => Ok(Self::Service(text)),
            Some(("service" | "services" | "csvc", name)) => Ok(Self::Service(name)),
            Some(("group" | "groups" | "cgrp", name)) => Ok(Self::Group(name)),
            Some((kind, name)) => anyhow::bail!(
                "{kind:?} is neither a service nor a group; write {name}, service/{name} or group/{name}"
            ),
        }
    }
}

/// Writes the wish and says what will come of it.
async fn write(
    client: &Client,
    namespace: &str,
    target: Target<'_>,
    wish: Wish,
) -> anyhow::Result<String> {
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let wished = wish.patch();
    let patch = Patch::Merge(&wished);
    let (services, groups) = (
        Api::<Service>::namespaced(client.clone(), namespace),
        Api::<Group>::namespaced(client.clone(), namespace),
    );
    let (kind, name, written) = match target {
        Target::Service(name) => (
            "service",
            name,
            services.patch(name, &params, &patch).await.map(Some),
        ),
        Target::Group(name) => (
            "group",
            name,
            groups.patch(name, &params, &patch).await.map(|_| None),
        ),
    };
    match written {
        Ok(service) => {
            let stopped = match service {
                Some(service) => stopped_group(&groups, &service).await?,
                None => None,
            };
            let said = wish.said();
            Ok(match stopped {
                Some(group) => format!(
                    "{kind} {name} {said}, and its group {group} is declared stopped, so it stays stopped; see: clos start group/{group}"
                ),
                None => format!("{kind} {name} {said}; see: clos status"),
            })
        }
        Err(kube::Error::Api(status)) if status.is_not_found() => {
            let existing: Vec<String> = match target {
                Target::Service(_) => services
                    .list(&ListParams::default())
                    .await?
                    .iter()
                    .map(ResourceExt::name_any)
                    .collect(),
                Target::Group(_) => groups
                    .list(&ListParams::default())
                    .await?
                    .iter()
                    .map(ResourceExt::name_any)
                    .collect(),
            };
            let existing = if existing.is_empty() {
                "there are none".to_owned()
            } else {
                format!("there are: {}", existing.join(", "))
            };
            anyhow::bail!("there is no {kind} {name} in the namespace {namespace}; {existing}")
        }
        Err(error) => Err(error.into()),
    }
}

/// The group of a service that is to run, when the group is not to.
async fn stopped_group(groups: &Api<Group>, service: &Service) -> anyhow::Result<Option<String>> {
    if service.spec.state == State::Stopped {
        return Ok(None);
    }
    let group = groups.get_opt(&service.spec.group).await?;
    Ok(group
        .filter(|group| group.spec.state == State::Stopped)
        .map(|group| group.name_any()))
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
kind: Service
metadata: { name: web }
spec: { group: shop, image: \"shop/web:1\" }
";

    #[test]
    fn a_target_without_a_kind_is_a_service() {
        assert_eq!(Target::parse("web").unwrap(), Target::Service("web"));
        assert_eq!(Target::parse("group/shop").unwrap(), Target::Group("shop"));
        assert_eq!(Target::parse("csvc/web").unwrap(), Target::Service("web"));
    }

    #[test]
    fn another_kind_is_refused_with_what_would_be_right() {
        let error = Target::parse("pod/web").unwrap_err().to_string();
        assert_eq!(
            error,
            r#""pod" is neither a service nor a group; write web, service/web or group/web"#
        );
    }

    #[tokio::test]
    async fn stopping_and_starting_are_declared() {
        let client = holding(SHOP).await;
        let services = Api::<Service>::default_namespaced(client.clone());
        assert_eq!(
            write(&client, "default", Target::Service("web"), Wish::Stop)
                .await
                .unwrap(),
            "service web is declared stopped; see: clos status"
        );
        assert_eq!(
            services.get("web").await.unwrap().spec.state,
            State::Stopped
        );
        assert_eq!(
            write(&client, "default", Target::Service("web"), Wish::Start)
                .await
                .unwrap(),
            "service web is declared running; see: clos status"
        );
        assert_eq!(
            services.get("web").await.unwrap().spec.state,
            State::Running
        );
    }

    #[tokio::test]
    async fn a_service_of_a_stopped_group_is_said_to_stay_stopped() {
        let client = holding(SHOP).await;
        write(&client, "default", Target::Group("shop"), Wish::Stop)
            .await
            .unwrap();
        assert_eq!(
            write(&client, "default", Target::Service("web"), Wish::Start)
                .await
                .unwrap(),
            "service web is declared running, and its group shop is declared stopped, so it stays stopped; see: clos start group/shop"
        );
    }

    #[tokio::test]
    async fn a_restart_is_an_annotation_with_the_time() {
        let client = holding(SHOP).await;
        let at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        write(&client, "default", Target::Group("shop"), Wish::Restart(at))
            .await
            .unwrap();
        let group = Api::<Group>::default_namespaced(client)
            .get("shop")
            .await
            .unwrap();
        assert_eq!(
            group
                .annotations()
                .get(ANNOTATION_RESTARTED_AT)
                .map(String::as_str),
            Some("2026-01-01T00:00:00Z")
        );
    }

    #[tokio::test]
    async fn an_unknown_name_is_answered_with_the_known_ones() {
        let client = holding(SHOP).await;
        let error = |target, namespace| {
            let client = client.clone();
            async move {
                write(&client, namespace, target, Wish::Stop)
                    .await
                    .unwrap_err()
                    .to_string()
            }
        };
        assert_eq!(
            error(Target::Service("wbe"), "default").await,
            "there is no service wbe in the namespace default; there are: web"
        );
        assert_eq!(
            error(Target::Group("shop"), "kube-system").await,
            "there is no group shop in the namespace kube-system; there are none"
        );
    }
}
