//! What Secrets and `ConfigMaps` hold, as bytes by key, and which version of them it is. Looking them up is the caller's business, what is
//! made of them is in `desired`.

use std::collections::BTreeMap;

use clos_resources::instance::{ValueKind, ValueVersion};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::ObjectMeta;

/// Which version of a Secret or `ConfigMap` it is, from its metadata.
pub fn version(kind: ValueKind, metadata: &ObjectMeta) -> ValueVersion {
    ValueVersion {
        kind,
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
        resource_version: metadata.resource_version.clone().unwrap_or_default(),
    }
}

/// The values of a Secret by key.
pub fn secret_data(secret: Secret) -> BTreeMap<String, Vec<u8>> {
    secret
        .data
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key, value.0))
        .collect()
}

/// The values of a `ConfigMap` by key, text and binary ones alike.
pub fn config_map_data(config_map: ConfigMap) -> BTreeMap<String, Vec<u8>> {
    let text = config_map
        .data
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key, value.into_bytes()));
    let binary = config_map
        .binary_data
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key, value.0));
    text.chain(binary).collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    #[test]
    fn text_and_binary_values_of_a_config_map_are_both_there() {
        let config_map = ConfigMap {
            data: Some(BTreeMap::from([("text".to_owned(), "ä".to_owned())])),
            binary_data: Some(BTreeMap::from([(
                "raw".to_owned(),
                ByteString(vec![0, 255]),
            )])),
            ..ConfigMap::default()
        };
        let expected = BTreeMap::from([
            ("raw".to_owned(), vec![0, 255]),
            ("text".to_owned(), "ä".as_bytes().to_vec()),
        ]);
        assert_eq!(config_map_data(config_map), expected);
    }

    #[test]
    fn an_empty_secret_has_no_values() {
        assert_eq!(secret_data(Secret::default()), BTreeMap::new());
    }
}
