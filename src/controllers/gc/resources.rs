//! Every resource that can be listed and watched, as the API itself tells it. Nothing here knows a kind by name but Events, which own
//! nothing and end by themselves.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::DynamicObject;
use kube::core::PartialObjectMeta;
use kube::core::discovery::{ApiResource, Scope, verbs};
use kube::{Api, Client, Discovery};

/// The metadata of any object.
pub(crate) type Metadata = PartialObjectMeta<DynamicObject>;

/// One resource.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    /// How the API calls it.
    pub(crate) resource: ApiResource,
    /// Whether its objects lie in namespaces.
    pub(crate) namespaced: bool,
}

/// All resources, in the order the API told them.
#[derive(Clone, Debug)]
pub(crate) struct Kinds(Vec<Kind>);

impl Kinds {
    /// Asks the API.
    pub(crate) async fn discover(client: &Client) -> Result<Self, kube::Error> {
        let discovery = Discovery::new(client.clone()).run().await?;
        let mut kinds = Vec::new();
        for group in discovery.groups() {
            for (resource, capabilities) in group.recommended_resources() {
                let needed = [verbs::LIST, verbs::WATCH, verbs::DELETE, verbs::PATCH];
                let complete = needed
                    .iter()
                    .all(|verb| capabilities.supports_operation(verb));
                if complete && resource.plural != "events" {
                    kinds.push(Kind {
                        resource,
                        namespaced: capabilities.scope == Scope::Namespaced,
                    });
                }
            }
        }
        Ok(Self(kinds))
    }

    /// All of them; an index names one.
    pub(crate) fn all(&self) -> &[Kind] {
        &self.0
    }

    /// The resource an owner reference means, if the API has it.
    pub(crate) fn of_owner(&self, owner: &OwnerReference) -> Option<&Kind> {
        let group = owner
            .api_version
            .rsplit_once('/')
            .map_or("", |(group, _)| group);
        self.0
            .iter()
            .find(|kind| kind.resource.group == group && kind.resource.kind == owner.kind)
    }
}

impl Kind {
    /// Its objects of one namespace, or all when it is not in namespaces.
    pub(crate) fn within(&self, client: &Client, namespace: &str) -> Api<Metadata> {
        if self.namespaced && !namespace.is_empty() {
            Api::namespaced_with(client.clone(), namespace, &self.resource)
        } else {
            Api::all_with(client.clone(), &self.resource)
        }
    }
}
