//! `clos status`: groups and their services at a glance. Reading the objects is here, what to say of them is in `view`.

mod view;

use clos_resources::{Group, Instance, Service};
use k8s_openapi::api::core::v1::Event;
use kube::api::{ListParams, ObjectList};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use crate::Ending;
use crate::args::{Connection, Output, StatusArgs};
use crate::connect::now;
use crate::output;

pub(crate) async fn run(connection: &Connection, args: StatusArgs) -> anyhow::Result<Ending> {
    let client = connection.client().await?;
    let namespace = args.namespace.as_deref();
    let groups: ObjectList<Group> = list(&client, namespace).await?;
    let services: ObjectList<Service> = list(&client, namespace).await?;
    let instances: ObjectList<Instance> = list(&client, namespace).await?;
    let events: Vec<Event> = match namespace {
        Some(namespace) => {
            Api::<Event>::namespaced(client, namespace)
                .list(&ListParams::default())
                .await?
                .items
        }
        None => {
            Api::<Event>::all(client)
                .list(&ListParams::default())
                .await?
                .items
        }
    };
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
    Ok(Ending::Done)
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
