//! One served kind as data, made from its `CustomResourceDefinition`. Built-in kinds are described by the same document,
//! so there is one way in. Not here: hooks (`strategy`) and what is done with a kind (`verbs`).

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;
use thiserror::Error;

use super::strategy::Strategy;
use crate::cel::Rules;
use crate::request::Verb;
use crate::schema::Schema;
use crate::selector::SelectableField;
use crate::table::{Columns, CoreColumns};

/// Every verb of a kind that clients may change.
const ALL_VERBS: [Verb; 8] = [
    Verb::Delete,
    Verb::DeleteCollection,
    Verb::Get,
    Verb::List,
    Verb::Patch,
    Verb::Create,
    Verb::Update,
    Verb::Watch,
];

/// The verbs of a kind that only the server writes.
const READ_VERBS: [Verb; 3] = [Verb::Get, Verb::List, Verb::Watch];

/// A kind as it is served at one group and version.
#[expect(
    clippy::struct_field_names,
    reason = "`kind` and `list_kind` are Kubernetes' own names for what they hold"
)]
#[derive(Debug)]
pub(crate) struct Kind {
    /// The API group; empty for the core group.
    pub(crate) group: String,
    /// The version.
    pub(crate) version: String,
    /// The kind of one object.
    pub(crate) kind: String,
    /// The kind of a list of them.
    pub(crate) list_kind: String,
    /// The name in paths.
    pub(crate) plural: String,
    /// The plural as metrics label it: their labels live as long as the process, as kinds do.
    pub(crate) label: &'static str,
    /// The name for one.
    pub(crate) singular: String,
    /// What may be typed for it.
    pub(crate) short_names: Vec<String>,
    /// The groups of kinds it belongs to, as `all`.
    pub(crate) categories: Vec<String>,
    /// Whether its objects live in namespaces.
    pub(crate) namespaced: bool,
    /// What can be done with it.
    pub(crate) verbs: &'static [Verb],
    /// Whether it has a `status` subresource.
    pub(crate) status: bool,
    /// Where its `scale` subresource reads and writes.
    pub(crate) scale: Option<Scale>,
    /// The structural schema document, for `OpenAPI`.
    pub(crate) document: Value,
    /// The compiled schema.
    pub(crate) schema: Schema,
    /// The rules in CEL that the schema holds.
    pub(crate) rules: Rules,
    /// How it prints as a table.
    pub(crate) columns: Columns,
    /// What field selectors may name beside `metadata.name` and `metadata.namespace`.
    pub(crate) selectable: Vec<SelectableField>,
    /// Where it differs from a custom resource.
    pub(crate) strategy: Strategy,
}

/// The fields a Scale stands for, as paths below the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scale {
    /// The wished number of replicas.
    pub(crate) spec_replicas: Vec<String>,
    /// The observed number of replicas.
    pub(crate) status_replicas: Vec<String>,
    /// The selector in text form.
    pub(crate) selector: Option<Vec<String>>,
}

/// Why a definition cannot be served.
#[derive(Debug, Error)]
pub enum KindError {
    /// The definition has no version that is both served and stored.
    #[error("the definition {name} has no version that is served and stored")]
    NoVersion {
        /// The definition's name.
        name: String,
    },
    /// The definition's version has no schema.
    #[error("the definition {name} has no schema")]
    NoSchema {
        /// The definition's name.
        name: String,
    },
    /// The schema is not structural, or a rule or column does not compile.
    #[error("the definition {name} cannot be used")]
    Unusable {
        /// The definition's name.
        name: String,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The document of a built-in kind cannot be read.
    #[error("a built-in definition cannot be read")]
    BuiltIn(#[source] serde_json::Error),
}

impl Kind {
    /// The kind that a definition describes.
    pub(crate) fn from_definition(
        crd: &CustomResourceDefinition,
        strategy: Strategy,
    ) -> Result<Self, KindError> {
        let name = || crd.metadata.name.clone().unwrap_or_default();
        let spec = &crd.spec;
        let version = spec
            .versions
            .iter()
            .find(|version| version.served && version.storage)
            .ok_or_else(|| KindError::NoVersion { name: name() })?;
        let props = version
            .schema
            .as_ref()
            .and_then(|schema| schema.open_api_v3_schema.as_ref())
            .ok_or_else(|| KindError::NoSchema { name: name() })?;
        let document = serde_json::to_value(props).map_err(|error| unusable(name(), error))?;
        let schema = Schema::compile(&document).map_err(|error| unusable(name(), error))?;
        let rules = Rules::compile(&document).map_err(|error| unusable(name(), error))?;
        let columns = match CoreColumns::of(&spec.group, &spec.names.kind) {
            Some(columns) => Columns::of_core(columns),
            None => Columns::compile(
                version
                    .additional_printer_columns
                    .as_deref()
                    .unwrap_or_default(),
            )
            .map_err(|error| unusable(name(), error))?,
        };
        let subresources = version.subresources.as_ref();
        let declared = version
            .selectable_fields
            .iter()
            .flatten()
            .map(|field| SelectableField::new(&field.json_path));
        let aliases = strategy
            .field_aliases
            .iter()
            .map(|(label, place)| SelectableField::labelled(label, place));
        Ok(Self {
            group: spec.group.clone(),
            version: version.name.clone(),
            kind: spec.names.kind.clone(),
            list_kind: spec
                .names
                .list_kind
                .clone()
                .unwrap_or_else(|| format!("{}List", spec.names.kind)),
            plural: spec.names.plural.clone(),
            label: spec.names.plural.clone().leak(),
            singular: spec
                .names
                .singular
                .clone()
                .unwrap_or_else(|| spec.names.kind.to_lowercase()),
            short_names: spec.names.short_names.clone().unwrap_or_default(),
            categories: spec.names.categories.clone().unwrap_or_default(),
            namespaced: spec.scope == "Namespaced",
            verbs: if strategy.read_only {
                &READ_VERBS
            } else {
                &ALL_VERBS
            },
            status: subresources.is_some_and(|subresources| subresources.status.is_some()),
            scale: subresources
                .and_then(|subresources| subresources.scale.as_ref())
                .map(|scale| Scale {
                    spec_replicas: path(&scale.spec_replicas_path),
                    status_replicas: path(&scale.status_replicas_path),
                    selector: scale.label_selector_path.as_deref().map(path),
                }),
            document,
            schema,
            rules,
            columns,
            selectable: declared.chain(aliases).collect(),
            strategy,
        })
    }

    /// `group/version`, or the version alone for the core group.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

fn unusable(name: String, error: impl std::error::Error + Send + Sync + 'static) -> KindError {
    KindError::Unusable {
        name,
        source: Box::new(error),
    }
}

/// The field of `object` at a path of names.
pub(crate) fn lookup<'v>(object: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(object, |value, name| value.get(name))
}

/// The names in a simple JSON path as `.spec.replicas`.
fn path(text: &str) -> Vec<String> {
    text.split('.')
        .filter(|name| !name.is_empty())
        .map(ToOwned::to_owned)
        .collect()
}
