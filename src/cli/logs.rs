//! `clos logs`: the output of a service's containers, read from the engine.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use clos_engine::logs::{LogLine, LogOptions};
use clos_engine::{Engine, Error};
use clos_resources::names::LABEL_SERVICE;
use clos_resources::{Instance, Service};
use futures::StreamExt;
use futures::stream::{self, BoxStream, SelectAll};
use jiff::Timestamp;
use kube::api::ListParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};

use crate::Ending;
use crate::args::{Connection, LogsArgs};
use crate::connect::now;
use crate::live::is_final;
use crate::output;

pub(crate) async fn run(connection: &Connection, args: LogsArgs) -> anyhow::Result<Ending> {
    let client = connection.client().await?;
    let engine = connection.engine()?;
    show(&client, &engine, &args, &mut |line| {
        if line.stderr {
            output::note(&line.text)
        } else {
            output::line(&line.text)
        }
    })
    .await?;
    Ok(Ending::Done)
}

/// A line as it is printed, and where to.
#[derive(Debug, PartialEq, Eq)]
struct Printed {
    stderr: bool,
    text: String,
}

type Print<'a> = dyn FnMut(Printed) -> anyhow::Result<()> + Send + 'a;

/// Prints the lines of every container of what is named, as they come. When they are followed, so are the containers to come, until no
/// instance is left.
async fn show(
    client: &Client,
    engine: &dyn Engine,
    args: &LogsArgs,
    print: &mut Print<'_>,
) -> anyhow::Result<()> {
    let instances = find(client, &args.namespace, &args.name).await?;
    let since = match (args.since, args.tail) {
        (Some(since), _) => Some(now() - since.get()),
        // Nothing of what was.
        (None, Some(0)) => Some(now()),
        (None, _) => None,
    };
    let mut outputs = Outputs {
        engine,
        timestamps: args.timestamps,
        options: LogOptions {
            follow: args.follow,
            tail: args.tail,
            since,
        },
        named: instances.len() > 1,
        containers: BTreeMap::new(),
        lines: SelectAll::new(),
    };
    for instance in &instances {
        outputs.read(instance, outputs.options);
    }
    if outputs.containers.is_empty() {
        bail!("{} has no container yet; see why: clos status", args.name);
    }
    if args.follow {
        return follow(client, args, instances, outputs, print).await;
    }
    while let Some(line) = outputs.next().await {
        print(line?)?;
    }
    Ok(())
}

async fn follow(
    client: &Client,
    args: &LogsArgs,
    instances: Vec<Instance>,
    mut outputs: Outputs<'_>,
    print: &mut Print<'_>,
) -> anyhow::Result<()> {
    let of_service = instances
        .iter()
        .any(|instance| instance.name_any() != args.name);
    let config = if of_service {
        watcher::Config::default().labels(&format!("{LABEL_SERVICE}={}", args.name))
    } else {
        watcher::Config::default().fields(&format!("metadata.name={}", args.name))
    };
    let mut left: BTreeSet<String> = instances.iter().map(ResourceExt::name_any).collect();
    let api: Api<Instance> = Api::namespaced(client.clone(), &args.namespace);
    let mut changes = watcher(api, config).default_backoff().boxed();
    loop {
        tokio::select! {
            Some(line) = outputs.next() => match line {
                Ok(line) => print(line)?,
                // A container that is removed while it is followed; another one follows.
                Err(Error::NotFound(_) | Error::Interrupted { .. }) => {}
                Err(error) => return Err(error.into()),
            },
            Some(change) = changes.next(), if !left.is_empty() => match change {
                Ok(watcher::Event::Apply(instance) | watcher::Event::InitApply(instance)) => {
                    left.insert(instance.name_any());
                    outputs.named |= left.len() > 1;
                    // A container that came meanwhile is read whole.
                    outputs.read(&instance, LogOptions { follow: true, ..LogOptions::default() });
                }
                Ok(watcher::Event::Delete(instance)) => drop(left.remove(&instance.name_any())),
                Err(error) if is_final(&error) => return Err(error.into()),
                // The watch goes on by itself.
                Ok(watcher::Event::Init | watcher::Event::InitDone) | Err(_) => {}
            },
            else => return Ok(()),
        }
    }
}

/// What comes of a container, by its id: a line, or nothing at the end of its run.
type Told = (String, Option<Result<LogLine, Error>>);

/// What the containers print.
struct Outputs<'e> {
    engine: &'e dyn Engine,
    timestamps: bool,
    options: LogOptions,
    /// Whether each line begins with the instance's name.
    named: bool,
    /// The containers that are read, by id.
    containers: BTreeMap<String, Output>,
    /// What comes of them.
    lines: SelectAll<BoxStream<'static, Told>>,
}

/// How far the output of a container is read.
struct Output {
    prefix: String,
    reading: bool,
    /// Whether the instance changed since reading began.
    changed: bool,
    /// When the last line was written that was read.
    last: Option<Timestamp>,
}

impl Outputs<'_> {
    /// Reads the output of an instance's container, unless its run is read already.
    fn read(&mut self, instance: &Instance, options: LogOptions) {
        let Some(status) = &instance.status else {
            return;
        };
        let Some(id) = &status.container_id else {
            return;
        };
        if let Some(output) = self.containers.get_mut(id) {
            output.changed = true;
            self.go_on(id);
            return;
        }
        let prefix = if self.named {
            format!("{} | ", instance.name_any())
        } else {
            String::new()
        };
        let output = Output {
            prefix,
            reading: true,
            changed: false,
            last: None,
        };
        self.containers.insert(id.clone(), output);
        self.begin(id, options);
    }

    /// Reads on from the last line when a run is read to its end and the instance changed since: a run that ended has nothing more, and the
    /// next one cannot be told by its start, which is known to the second and later than its first lines.
    fn go_on(&mut self, id: &str) {
        let Some(output) = self.containers.get_mut(id) else {
            return;
        };
        if output.reading || !output.changed {
            return;
        }
        (output.reading, output.changed) = (true, false);
        let options = LogOptions {
            tail: None,
            since: output.last.or(self.options.since),
            ..self.options
        };
        self.begin(id, options);
    }

    fn begin(&mut self, id: &str, options: LogOptions) {
        let lines = self.engine.logs(id, options).map(Some);
        let id = id.to_owned();
        let told = lines.chain(stream::iter([None]));
        self.lines
            .push(told.map(move |line| (id.clone(), line)).boxed());
    }

    /// The next line of any container; none when all are read to their end.
    async fn next(&mut self) -> Option<Result<Printed, Error>> {
        loop {
            let (id, line) = self.lines.next().await?;
            let Some(output) = self.containers.get_mut(&id) else {
                continue;
            };
            match line {
                Some(Ok(line)) => {
                    output.last = line.at.or(output.last);
                    return Some(Ok(shown(&output.prefix, &line, self.timestamps)));
                }
                Some(Err(error)) => return Some(Err(error)),
                None => {
                    output.reading = false;
                    self.go_on(&id);
                }
            }
        }
    }
}

fn shown(prefix: &str, line: &LogLine, timestamps: bool) -> Printed {
    let text = match line.at.filter(|_| timestamps) {
        Some(at) => format!("{prefix}{at} {}", line.text),
        None => format!("{prefix}{}", line.text),
    };
    Printed {
        stderr: line.stderr,
        text,
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
    use crate::tests::{container, server, start};

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
        let mut lines = Vec::new();
        show(&client, &engine, &args(name), &mut |line| {
            lines.push(line.text);
            Ok(())
        })
        .await?;
        lines.sort();
        Ok(lines)
    }

    #[tokio::test]
    async fn whoever_follows_sees_the_containers_to_come() {
        let (client, engine) = world().await;
        let api = Api::<Instance>::default_namespaced(client.clone());
        let followed = LogsArgs {
            follow: true,
            ..args("web-0")
        };
        let (sender, mut printed) = tokio::sync::mpsc::unbounded_channel();
        let mut print = move |line: Printed| Ok(sender.send(line.text)?);
        let changes = async {
            assert_eq!(printed.recv().await.unwrap(), "hello from web-0");
            let id = container(&engine, "web-0-anew", "x").await;
            engine.write_line(&id, false, "back again");
            let status = json!({"status": {"containerId": id}});
            api.patch_status("web-0", &PatchParams::default(), &Patch::Merge(&status))
                .await
                .unwrap();
            assert_eq!(printed.recv().await.unwrap(), "back again");
        };
        tokio::select! {
            ended = show(&client, &engine, &followed, &mut print) => panic!("{ended:?}"),
            () = changes => {}
        }
    }

    #[tokio::test]
    async fn the_next_run_of_a_container_is_shown_whatever_its_start_and_once() {
        let (client, engine) = world().await;
        let api = Api::<Instance>::default_namespaced(client.clone());
        let id = api.get("web-0").await.unwrap().status.unwrap();
        let id = id.container_id.unwrap();
        let followed = LogsArgs {
            follow: true,
            ..args("web-0")
        };
        let (sender, mut printed) = tokio::sync::mpsc::unbounded_channel();
        let mut print = move |line: Printed| Ok(sender.send(line.text)?);
        let changes = async {
            assert_eq!(printed.recv().await.unwrap(), "hello from web-0");
            engine.crash(&id, 1);
            // Whoever follows reads this run to its end.
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            start(&engine, &id).await;
            engine.write_line(&id, false, "back again");
            let status = json!({ "status": { "restarts": 1 } });
            api.patch_status("web-0", &PatchParams::default(), &Patch::Merge(&status))
                .await
                .unwrap();
            assert_eq!(printed.recv().await.unwrap(), "back again");
            engine.write_line(&id, false, "and on");
            assert_eq!(printed.recv().await.unwrap(), "and on");
        };
        tokio::select! {
            ended = show(&client, &engine, &followed, &mut print) => panic!("{ended:?}"),
            () = changes => {}
        }
    }

    #[test]
    fn what_a_container_prints_to_standard_error_goes_there() {
        let line = |stderr| LogLine {
            at: None,
            stderr,
            text: String::new(),
        };
        assert!(shown("", &line(true), false).stderr);
        assert!(!shown("", &line(false), false).stderr);
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
            shown("web-0 | ", &line, true).text,
            "web-0 | 2026-01-01T00:00:00Z hello"
        );
        assert_eq!(shown("", &line, false).text, "hello");
    }
}
