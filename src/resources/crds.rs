//! The registry of kinds: every `CustomResourceDefinition`, in the order users meet them. A new kind is one file and one line here.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON,
};
use kube::CustomResourceExt;
use serde_json::json;

use crate::{Group, Host, Instance, Port, Service};

/// The definitions of all kinds.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        Service::crd(),
        with_optional_spec(Group::crd()),
        Instance::crd(),
        Port::crd(),
        Host::crd(),
    ]
}

/// A kind whose spec may be left out altogether: it is then empty, and filled with its fields' defaults.
fn with_optional_spec(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let schemas = crd.spec.versions.iter_mut();
    let schemas =
        schemas.filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut());
    for schema in schemas {
        if let Some(required) = &mut schema.required {
            required.retain(|field| field != "spec");
        }
        if let Some(spec) = schema
            .properties
            .as_mut()
            .and_then(|fields| fields.get_mut("spec"))
        {
            spec.default = Some(JSON(json!({})));
        }
    }
    crd
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_a_short_name_and_by_the_categories() {
        for crd in crds() {
            let names = &crd.spec.names;
            assert_eq!(
                names.short_names.as_ref().map(Vec::len),
                Some(1),
                "{}",
                names.kind
            );
            assert_eq!(
                names.categories,
                Some(vec!["clos".to_owned(), "all".to_owned()]),
                "{}",
                names.kind
            );
        }
    }

    #[test]
    fn only_a_groups_spec_may_be_left_out() {
        for crd in crds() {
            let schema = crd.spec.versions[0]
                .schema
                .as_ref()
                .unwrap()
                .open_api_v3_schema
                .as_ref()
                .unwrap();
            let required = schema
                .required
                .iter()
                .flatten()
                .any(|field| field == "spec");
            assert_eq!(
                required,
                crd.spec.names.kind != "Group",
                "{}",
                crd.spec.names.kind
            );
        }
    }
}
