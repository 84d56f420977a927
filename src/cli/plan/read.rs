//! Reading what a plan depends on. Every request here is a read or a dry run, and the engine is only looked at.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Debug;

use anyhow::{Context, bail};
use clos_engine::Engine;
use clos_engine::engine::Scope;
use clos_plan::desired::{container_name, network_name, references, volume_names};
use clos_plan::observed::EngineView;
use clos_plan::values::{config_map_data, secret_data};
use clos_resources::{Group, Host, Instance, Port, Service};
use clos_sources::sync::Step;
use clos_sources::{DesiredSet, ObjectKey, SyncPlan};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::forecast::Forecast;
use super::world::{DeclaredPlaces, World, place};

/// How many looks at the engine are under way at once.
const CONCURRENCY: usize = 8;

/// The objects as they would be once everything declared was applied, and what is declared.
pub(super) async fn world(
    client: &Client,
    desired: &DesiredSet,
    plan: &SyncPlan,
) -> anyhow::Result<(World, DeclaredPlaces)> {
    let mut world = World::default();
    let mut places = DeclaredPlaces::default();
    world.services = all::<Service>(client)
        .await?
        .into_iter()
        .map(|service| (place(&service), service))
        .collect();
    world.groups = all::<Group>(client)
        .await?
        .into_iter()
        .map(|group| (place(&group), group))
        .collect();
    world.instances = all::<Instance>(client).await?;
    world.ports = Api::<Port>::all(client.clone())
        .list(&ListParams::default())
        .await?
        .items
        .into_iter()
        .map(|port| (port.name_any(), port))
        .collect();
    let hosts = Api::<Host>::all(client.clone())
        .list(&ListParams::default())
        .await?;
    match hosts.items.first() {
        Some(host) => world.host = host.name_any(),
        None => {
            bail!("the server has no Host yet, so nothing can run; see its log, or: clos get hosts")
        }
    }
    for Applied { object, .. } in applied::<Service>(client, desired, plan).await? {
        places.services.insert(place(&object));
        world.services.insert(place(&object), object);
    }
    for Applied { object, changes } in applied::<Group>(client, desired, plan).await? {
        if changes {
            places.groups.insert(place(&object));
        }
        world.groups.insert(place(&object), object);
    }
    for Applied { object, changes } in applied::<Secret>(client, desired, plan).await? {
        let (namespace, name) = place(&object);
        if changes {
            places.secrets.insert((namespace.clone(), name.clone()));
        }
        world
            .values
            .entry(namespace)
            .or_default()
            .secrets
            .insert(name, Some(secret_data(object)));
    }
    for Applied { object, changes } in applied::<ConfigMap>(client, desired, plan).await? {
        let (namespace, name) = place(&object);
        if changes {
            places.config_maps.insert((namespace.clone(), name.clone()));
        }
        world
            .values
            .entry(namespace)
            .or_default()
            .config_maps
            .insert(name, Some(config_map_data(object)));
    }
    Ok((world, places))
}

/// Looks up the `Secret`s and `ConfigMap`s that Instances refer to and that are not declared.
pub(super) async fn values(
    client: &Client,
    world: &mut World,
    instances: impl Iterator<Item = &Instance>,
) -> anyhow::Result<()> {
    for instance in instances {
        let namespace = instance.namespace().unwrap_or_default();
        let references = references(&instance.spec.container);
        let known = world.values.entry(namespace.clone()).or_default();
        for name in references.secrets {
            if let Entry::Vacant(unknown) = known.secrets.entry(name) {
                let found = Api::<Secret>::namespaced(client.clone(), &namespace)
                    .get_opt(unknown.key())
                    .await?;
                unknown.insert(found.map(secret_data));
            }
        }
        for name in references.config_maps {
            if let Entry::Vacant(unknown) = known.config_maps.entry(name) {
                let found = Api::<ConfigMap>::namespaced(client.clone(), &namespace)
                    .get_opt(unknown.key())
                    .await?;
                unknown.insert(found.map(config_map_data));
            }
        }
    }
    Ok(())
}

/// What the engine shows for each Instance, by UID.
pub(super) async fn views(
    engine: &dyn Engine,
    forecasts: &[Forecast<'_>],
) -> anyhow::Result<BTreeMap<String, EngineView>> {
    let scopes = forecasts
        .iter()
        .flat_map(|forecast| &forecast.instances)
        .map(|instance| Scope {
            instance_uid: instance.uid().unwrap_or_default(),
            container_name: container_name(instance),
            network_name: network_name(instance),
            volumes: volume_names(instance),
            image: Some(instance.spec.container.image.clone()),
        });
    let looks = stream::iter(scopes).map(|scope| async move {
        let observed = engine.observe(&scope).await?;
        Ok::<_, clos_engine::Error>((scope.instance_uid, EngineView::Known(observed)))
    });
    Ok(looks.buffer_unordered(CONCURRENCY).try_collect().await?)
}

async fn all<K>(client: &Client) -> anyhow::Result<Vec<K>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug,
{
    let listed = Api::<K>::all(client.clone())
        .list(&ListParams::default())
        .await;
    Ok(listed
        .with_context(|| format!("cannot list the objects of kind {}", K::kind(&())))?
        .items)
}

/// A declared object as the server would store it.
struct Applied<K> {
    object: K,
    /// Whether applying would create or change it.
    changes: bool,
}

/// The declared objects of a kind.
async fn applied<K>(
    client: &Client,
    desired: &DesiredSet,
    plan: &SyncPlan,
) -> anyhow::Result<Vec<Applied<K>>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Serialize
        + DeserializeOwned
        + Debug,
{
    let mut objects = Vec::new();
    for key in desired
        .objects
        .keys()
        .filter(|key| key.group == K::group(&()) && key.kind == K::kind(&()))
    {
        let object = after_applying::<K>(client, plan, key)
            .await
            .with_context(|| format!("cannot tell what {key} would be"))?;
        let changes = plan.actions.iter().any(|action| action.key == *key);
        objects.extend(object.map(|object| Applied { object, changes }));
    }
    Ok(objects)
}

async fn after_applying<K>(
    client: &Client,
    plan: &SyncPlan,
    key: &ObjectKey,
) -> anyhow::Result<Option<K>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Serialize
        + DeserializeOwned
        + Debug,
{
    let api = Api::<K>::namespaced(client.clone(), key.namespace.as_deref().unwrap_or_default());
    let step = plan
        .actions
        .iter()
        .find(|action| action.key == *key)
        .map(|action| &action.step);
    let object = match step {
        Some(Step::Create(value)) => {
            match created::<K>(client, key, value).await {
                Ok(object) => object,
                // Its namespace does not exist yet; defaults are filled in by reading it.
                Err(kube::Error::Api(status)) if status.is_not_found() => read_as_declared(value)?,
                Err(error) => return Err(error.into()),
            }
        }
        Some(Step::Patch(patch)) => {
            api.patch(
                &key.name,
                &PatchParams {
                    dry_run: true,
                    ..PatchParams::default()
                },
                &Patch::<&Value>::Merge(patch),
            )
            .await?
        }
        Some(Step::Prune { .. } | Step::Release(_)) => return Ok(None),
        None => match api.get_opt(&key.name).await? {
            Some(live) => live,
            None => return Ok(None),
        },
    };
    Ok(Some(with_uid(object)))
}

/// What the server would make of an object. The declared text is sent as it is: what it leaves out has defaults.
async fn created<K>(client: &Client, key: &ObjectKey, declared: &Value) -> Result<K, kube::Error>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let params = PostParams {
        dry_run: true,
        field_manager: None,
    };
    let body = serde_json::to_vec(declared).map_err(kube::Error::SerdeError)?;
    let request = kube::core::Request::new(K::url_path(&(), key.namespace.as_deref()))
        .create(&params, body)
        .map_err(kube::Error::BuildRequest)?;
    client.request(request).await
}

/// A declared object without the server's help.
fn read_as_declared<K: DeserializeOwned>(declared: &Value) -> Result<K, serde_json::Error> {
    let mut whole = declared.clone();
    if let Some(fields) = whole.as_object_mut() {
        fields
            .entry("spec")
            .or_insert_with(|| Value::Object(Map::new()));
    }
    serde_json::from_value(whole)
}

/// An object that was never stored has no UID; Instances of it need an owner.
fn with_uid<K: Resource<DynamicType = ()>>(mut object: K) -> K {
    let name = object.name_any();
    object
        .meta_mut()
        .uid
        .get_or_insert_with(|| format!("of-{name}-to-be-made"));
    object
}
