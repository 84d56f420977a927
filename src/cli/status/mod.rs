//! `clos status`: groups and their services at a glance. Reading the objects is here, what to say of them is in `view`.

mod view;

use clos_engine::Engine;
use clos_resources::{Group, Instance, Service};
use k8s_openapi::api::core::v1::Event;
use kube::api::{ListParams, ObjectList};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::Ending;
use crate::args::{Connection, Output, StatusArgs};
use crate::connect::now;
use crate::wait::{self, Subject, Wait};
use crate::{confirm, output};

pub(crate) async fn run(connection: &Connection, args: StatusArgs) -> anyhow::Result<Ending> {
    let client = connection.client().await?;
    let namespace = args.namespace.as_deref();
    if args.wait {
        let ending = wait(connection, &client, &args).await?;
        if ending != Ending::Done {
            return Ok(ending);
        }
    }
    let groups: ObjectList<Group> = list(&client, namespace).await?;
    let services: ObjectList<Service> = list(&client, namespace).await?;
    let instances: ObjectList<Instance> = list(&client, namespace).await?;
    let events: Vec<Event> = match namespace {
        Some(namespace) => {
            Api::<Event>::namespaced(client.clone(), namespace)
                .list(&ListParams::default())
                .await?
                .items
        }
        None => {
            Api::<Event>::all(client.clone())
                .list(&ListParams::default())
                .await?
                .items
        }
    };
    let held = confirm::headlines(&confirm::look(&client).await?);
    let mut overview = view::overview(
        &groups.items,
        &services.items,
        &instances.items,
        &events,
        now(),
    );
    if let Some(wanted) = &args.group {
        overview.retain(|group| group.name == *wanted);
        if overview.is_empty() {
            anyhow::bail!("there is no group {wanted}; see: clos status");
        }
    }
    match args.output {
        Some(Output::Json | Output::Yaml) => {
            output::data(args.output, &overview)?;
        }
        Some(Output::Name) => output::print(&view::names(&overview))?,
        Some(Output::Wide) => output::print(&view::render(&overview, true))?,
        None => output::print(&view::render(&overview, false))?,
    }
    if !held.is_empty() {
        output::note(held.trim_end())?;
    }
    Ok(Ending::Done)
}

/// Waits for all services and groups there are now, or those of the one group.
async fn wait(
    connection: &Connection,
    client: &Client,
    args: &StatusArgs,
) -> anyhow::Result<Ending> {
    let services: ObjectList<Service> = list(client, args.namespace.as_deref()).await?;
    let groups: ObjectList<Group> = list(client, args.namespace.as_deref()).await?;
    let wanted = |group: &str| args.group.as_ref().is_none_or(|wanted| wanted == group);
    let services = services
        .items
        .iter()
        .filter(|service| wanted(&service.spec.group));
    let services = services.map(|service| Subject::Service {
        namespace: service.namespace().unwrap_or_default(),
        name: service.name_any(),
    });
    let groups = groups
        .items
        .iter()
        .filter(|group| wanted(&group.name_any()));
    let groups = groups.map(|group| Subject::Group {
        namespace: group.namespace().unwrap_or_default(),
        name: group.name_any(),
    });
    let wait = Wait {
        subjects: services.chain(groups).collect(),
        values_changed: false,
        timeout: args.timeout,
    };
    let engine = connection.engine();
    let engine = engine.as_ref().map_err(ToString::to_string);
    let engine = match &engine {
        Ok(engine) => Ok(*engine as &dyn Engine),
        Err(why) => Err(why.as_str()),
    };
    wait::until_as_declared(client, engine, wait).await
}

async fn list<K>(client: &Client, namespace: Option<&str>) -> anyhow::Result<ObjectList<K>>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let api: Api<K> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    Ok(api.list(&ListParams::default()).await?)
}
