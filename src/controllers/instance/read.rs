//! Step 1 of the agent: the Instance and everything it refers to. The Instance itself, Secrets and `ConfigMaps` are read from the API,
//! because acting on yesterday's would be wrong and keeping secrets in memory is not needed; the rest comes from the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clos_plan::desired::{Values, references};
use clos_plan::instance::DependencyState;
use clos_plan::order::dependency_state;
use clos_plan::values::{config_map_data, secret_data, version};
use clos_resources::instance::{InstanceStatus, ValueKind};
use clos_resources::{Instance, Port, Service};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::ListParams;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};

use super::{Agent, Error};
use crate::index::{Interest, port_names, values_owner};

/// An Instance and everything it refers to.
pub(super) struct Read {
    /// With the status of the last pass, even if it could not be written.
    pub(super) instance: Instance,
    /// The status that the API has.
    pub(super) written: Option<InstanceStatus>,
    pub(super) values: Values,
    pub(super) ports: Vec<Port>,
    pub(super) dependencies: Vec<DependencyState>,
}

impl Agent {
    /// The Instance of this name as it is now; nothing when it is gone, or another host's.
    pub(super) async fn read(&self, named: &Instance) -> Result<Option<Read>, Error> {
        let name = named.name_any();
        let failed = |source| Error::Read {
            what: format!("instance {name}"),
            source,
        };
        let Some(mut instance) = self.instances(named).get_opt(&name).await.map_err(failed)? else {
            return Ok(None);
        };
        if instance.spec.host != self.host {
            return Ok(None);
        }
        let written = instance.status.clone();
        let uid = instance.uid().unwrap_or_default();
        if let Some(unwritten) = self.memory.unwritten(&uid) {
            instance.status = Some(unwritten);
        }
        let values = self.values(&instance).await?;
        let ports = match instance.metadata.deletion_timestamp {
            None => self.known_ports(&instance),
            Some(_) => self.held_ports(&instance.uid().unwrap_or_default()).await?,
        };
        let dependencies = self.dependencies(&instance);
        Ok(Some(Read {
            instance,
            written,
            values,
            ports,
            dependencies,
        }))
    }

    /// The Ports that this UID holds, from the API.
    pub(super) async fn held_ports(&self, uid: &str) -> Result<Vec<Port>, Error> {
        let api: Api<Port> = Api::all(self.client.clone());
        let params = ListParams::default().fields(&format!("spec.host={}", self.host));
        let listed = api.list(&params).await.map_err(|source| Error::Read {
            what: "ports".to_owned(),
            source,
        })?;
        Ok(listed
            .items
            .into_iter()
            .filter(|port| is_held_by(port, uid))
            .collect())
    }

    /// The Ports whose names it claims or that it holds, from the cache: a claim that was lost meanwhile is refused by the API.
    fn known_ports(&self, instance: &Instance) -> Vec<Port> {
        let uid = instance.uid().unwrap_or_default();
        let mut ports: BTreeMap<String, Port> = BTreeMap::new();
        let claimed = port_names(instance);
        let named = claimed
            .iter()
            .filter_map(|name| self.cache.ports.get(&ObjectRef::new(name)));
        let held = self.cache.ports.state_filter(|port| is_held_by(port, &uid));
        for port in named.chain(held) {
            ports.insert(port.name_any(), Arc::unwrap_or_clone(port));
        }
        ports.into_values().collect()
    }

    async fn values(&self, instance: &Instance) -> Result<Values, Error> {
        let namespace = instance.namespace().unwrap_or_default();
        let references = references(&instance.spec.container);
        let mut values = Values::default();
        let mut versions = BTreeSet::new();
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &namespace);
        for name in references.secrets {
            let failed = |source| Error::Read {
                what: format!("secret {name}"),
                source,
            };
            let found = secrets.get_opt(&name).await.map_err(failed)?;
            versions.extend(
                found
                    .iter()
                    .map(|found| version(ValueKind::Secret, &found.metadata)),
            );
            let found = found.map(secret_data);
            // While it is missing, containers that took its values run on and may tell them.
            if let Some(found) = &found {
                self.redactor
                    .remember(&values_owner(&namespace, &name), found.values());
            }
            values.secrets.insert(name, found);
        }
        let config_maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &namespace);
        for name in references.config_maps {
            let failed = |source| Error::Read {
                what: format!("config map {name}"),
                source,
            };
            let found = config_maps.get_opt(&name).await.map_err(failed)?;
            versions.extend(
                found
                    .iter()
                    .map(|found| version(ValueKind::ConfigMap, &found.metadata)),
            );
            values.config_maps.insert(name, found.map(config_map_data));
        }
        values.versions = Some(versions);
        Ok(values)
    }

    fn dependencies(&self, instance: &Instance) -> Vec<DependencyState> {
        let namespace = instance.namespace().unwrap_or_default();
        let state = |dependency: &clos_resources::lifecycle::Dependency| {
            let service: Option<Arc<Service>> = self
                .cache
                .services
                .get(&ObjectRef::new(&dependency.service).within(&namespace));
            let service = service.filter(|service| service.spec.group == instance.spec.group);
            let replicas = self.index.interested(&Interest::ReplicaOf(
                namespace.clone(),
                dependency.service.clone(),
            ));
            let replicas = replicas.iter().filter_map(|(namespace, name)| {
                self.cache
                    .instances
                    .get(&ObjectRef::new(name).within(namespace))
                    .map(Arc::unwrap_or_clone)
            });
            dependency_state(
                dependency,
                service.as_deref(),
                &replicas.collect::<Vec<_>>(),
            )
        };
        instance.spec.depends_on.iter().map(state).collect()
    }
}

fn is_held_by(port: &Port, uid: &str) -> bool {
    port.spec
        .holder
        .as_ref()
        .is_some_and(|holder| holder.uid == uid)
}
