//! `clos logs`: the output of a service's containers, read from the engine.

use anyhow::bail;
use clos_engine::Engine;
use clos_engine::logs::{LogLine, LogOptions};
use clos_resources::names::LABEL_SERVICE;
use clos_resources::{Instance, Service};
use futures::stream::{BoxStream, SelectAll, select_all};
use futures::{StreamExt, TryStreamExt};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use crate::Ending;
use crate::args::{Connection, LogsArgs};
use crate::connect::now;
use crate::output;

pub(crate) async fn run(connection: &Connection, args: LogsArgs) -> anyhow::Result<Ending> {
    let client = connection.client().await?;
    let engine = connection.engine()?;
    let since = args.since.map(|since| now() - since.get());
    let options = LogOptions {
        follow: args.follow,
        tail: args.tail,
        since,
    };
    let mut lines = lines(&client, &engine, &args, options).await?;
    while let Some(line) = lines.try_next().await? {
        output::line(&line)?;
    }
    Ok(Ending::Done)
}

/// The lines of every container of what is named, as they come. With several containers each line begins with the instance's name.
async fn lines(
    client: &Client,
    engine: &dyn Engine,
    args: &LogsArgs,
    options: LogOptions,
) -> anyhow::Result<SelectAll<BoxStream<'static, Result<String, clos_engine::Error>>>> {
    let instances = find(client, &args.namespace, &args.name).await?;
    let several = instances.len() > 1;
    let timestamps = args.timestamps;
    let streams: Vec<_> = instances
        .iter()
        .filter_map(|instance| {
            let id = instance.status.as_ref()?.container_id.clone()?;
            let prefix = if several {
                format!("{} | ", instance.name_any())
            } else {
                String::new()
            };
            Some(
                engine
                    .logs(&id, options)
                    .map(move |line| Ok(shown(&prefix, &line?, timestamps)))
                    .boxed(),
            )
        })
        .collect();
    if streams.is_empty() {
        bail!("{} has no container yet; see why: clos status", args.name);
    }
    Ok(select_all(streams))
}

fn shown(prefix: &str, line: &LogLine, timestamps: bool) -> String {
    match line.at.filter(|_| timestamps) {
        Some(at) => format!("{prefix}{at} {}", line.text),
        None => format!("{prefix}{}", line.text),
    }
}

/// The instances of the service of that name, or the one instance of that name.
async fn find(client: &Client, namespace: &str, name: &str) -> anyhow::Result<Vec<Instance>> {
    let api: Api<Instance> = Api::namespaced(client.clone(), namespace);
    let of_service = api
        .list(&ListParams::default().labels(&format!("{LABEL_SERVICE}={name}")))
        .await?
        .items;
    if !of_service.is_empty() {
        return Ok(of_service);
    }
    if let Some(instance) = api.get_opt(name).await? {
        return Ok(vec![instance]);
    }
    match Api::<Service>::namespaced(client.clone(), namespace)
        .get_opt(name)
        .await?
    {
        Some(_) => Ok(Vec::new()),
        None => bail!(
            "there is no service and no instance {name} in the namespace {namespace}; see: clos status"
        ),
    }
}

#[cfg(test)]
mod tests {
    use clos_engine::fake::FakeEngine;
    use kube::api::{Patch, PatchParams, PostParams};
    use serde_json::json;

    use super::*;
    use crate::tests::{container, server};

    fn args(name: &str) -> LogsArgs {
        LogsArgs {
            name: name.to_owned(),
            namespace: "default".to_owned(),
            follow: false,
            tail: None,
            since: None,
            timestamps: false,
        }
    }

    /// Two instances of `web` on a server, with containers that have printed a line each, and `idle`, which has none.
    async fn world() -> (Client, FakeEngine) {
        let (client, engine) = (server().await, FakeEngine::builder().image("x").build());
        for name in ["web-0", "web-1"] {
            let id = container(&engine, name, "x").await;
            engine.write_line(&id, false, &format!("hello from {name}"));
            let instance: Instance = serde_json::from_value(json!({"apiVersion": "clos.dev/v1alpha1", "kind": "Instance",
                "metadata": {"name": name, "labels": {LABEL_SERVICE: "web"}},
                "spec": {"service": "web", "group": "shop", "host": "local", "ordinal": 0, "revision": "r", "container": {"image": "x"}}}))
            .unwrap();
            let api = Api::<Instance>::default_namespaced(client.clone());
            api.create(&PostParams::default(), &instance).await.unwrap();
            let status = json!({"status": {"containerId": id}});
            api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status))
                .await
                .unwrap();
        }
        let idle: Service = serde_json::from_value(
            json!({"apiVersion": "clos.dev/v1alpha1", "kind": "Service", "metadata": {"name": "idle"}, "spec": {"group": "shop", "image": "x"}}),
        )
        .unwrap();
        Api::<Service>::default_namespaced(client.clone())
            .create(&PostParams::default(), &idle)
            .await
            .unwrap();
        (client, engine)
    }

    async fn printed(name: &str) -> anyhow::Result<Vec<String>> {
        let (client, engine) = world().await;
        let mut lines: Vec<String> = lines(&client, &engine, &args(name), LogOptions::default())
            .await?
            .try_collect()
            .await?;
        lines.sort();
        Ok(lines)
    }

    #[tokio::test]
    async fn lines_of_several_containers_are_told_apart() {
        assert_eq!(
            printed("web").await.unwrap(),
            ["web-0 | hello from web-0", "web-1 | hello from web-1"]
        );
        assert_eq!(printed("web-1").await.unwrap(), ["hello from web-1"]);
    }

    #[tokio::test]
    async fn what_has_no_container_or_does_not_exist_says_so() {
        assert_eq!(
            printed("idle").await.unwrap_err().to_string(),
            "idle has no container yet; see why: clos status"
        );
        let error = printed("wbe").await.unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no service and no instance wbe in the namespace default; see: clos status"
        );
    }

    #[test]
    fn the_time_is_printed_when_asked_for() {
        let line = LogLine {
            at: Some("2026-01-01T00:00:00Z".parse().unwrap()),
            stderr: false,
            text: "hello".to_owned(),
        };
        assert_eq!(
            shown("web-0 | ", &line, true),
            "web-0 | 2026-01-01T00:00:00Z hello"
        );
        assert_eq!(shown("", &line, false), "hello");
    }
}
