//! The few calls a synchronisation makes, on objects of any kind as plain JSON. Not here: when to make them.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Client;
use kube::api::{
    DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams, Preconditions,
    PropagationPolicy, ValidationDirective,
};
use kube::core::Request;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::kinds::Kind;
use crate::set::ObjectKey;

/// The name under which these changes appear in audit entries and managed fields.
const FIELD_MANAGER: &str = "clos-sources";

/// How many calls are under way at once.
pub(crate) const CONCURRENCY: usize = 16;

/// How many objects one page of a list holds.
const PAGE: u32 = 500;

/// Whether a call changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It does.
    Write,
    /// Everything is checked and nothing is kept.
    DryRun,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default)]
    items: Vec<Value>,
}

#[derive(Deserialize, Default)]
struct ListMeta {
    #[serde(rename = "continue", default)]
    token: Option<String>,
}

/// Makes all calls, some at a time, and stops at the first that fails.
pub(crate) async fn all<T, E>(calls: Vec<impl Future<Output = Result<T, E>>>) -> Result<Vec<T>, E> {
    stream::iter(calls)
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await
}

/// One object, or none.
pub(crate) async fn get(
    client: &Client,
    kind: &Kind,
    key: &ObjectKey,
) -> kube::Result<Option<Value>> {
    let request =
        Request::new(kind.url_path(key.namespace.as_deref())).get(&key.name, &GetParams::default());
    match client
        .request(request.map_err(kube::Error::BuildRequest)?)
        .await
    {
        Ok(object) => Ok(Some(object)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// All objects of a kind that a label selector picks, in all namespaces.
pub(crate) async fn list(client: &Client, kind: &Kind, selector: &str) -> kube::Result<Vec<Value>> {
    let mut found = Vec::new();
    let mut parameters = ListParams::default().labels(selector).limit(PAGE);
    loop {
        let request = Request::new(kind.url_path(None))
            .list(&parameters)
            .map_err(kube::Error::BuildRequest)?;
        let page: List = client.request(request).await?;
        found.extend(page.items);
        match page.metadata.token.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => break,
        }
    }
    // Servers leave these two out of the items of lists.
    for object in &mut found {
        object["apiVersion"] = json!(kind.resource.api_version);
        object["kind"] = json!(kind.resource.kind);
    }
    Ok(found)
}

/// Creates an object; a field that the kind does not have is an error.
pub(crate) async fn create(
    client: &Client,
    kind: &Kind,
    namespace: Option<&str>,
    object: &Value,
    mode: Mode,
) -> kube::Result<Value> {
    let parameters = PostParams {
        dry_run: mode == Mode::DryRun,
        field_manager: Some(FIELD_MANAGER.to_owned()),
    };
    let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
    let mut request = Request::new(kind.url_path(namespace))
        .create(&parameters, body)
        .map_err(kube::Error::BuildRequest)?;
    let strict = format!("{}&fieldValidation=Strict", request.uri());
    *request.uri_mut() = strict
        .parse()
        .expect("a query that is longer by one parameter");
    client.request(request).await
}

/// Changes an object by a merge patch; a field that the kind does not have is an error.
pub(crate) async fn patch(
    client: &Client,
    kind: &Kind,
    key: &ObjectKey,
    patch: &Value,
    mode: Mode,
) -> kube::Result<Value> {
    let parameters = PatchParams {
        dry_run: mode == Mode::DryRun,
        field_manager: Some(FIELD_MANAGER.to_owned()),
        field_validation: Some(ValidationDirective::Strict),
        force: false,
    };
    let request = Request::new(kind.url_path(key.namespace.as_deref())).patch(
        &key.name,
        &parameters,
        &Patch::Merge(patch),
    );
    client
        .request(request.map_err(kube::Error::BuildRequest)?)
        .await
}

/// Deletes an object if it is still the one with this UID; one that is gone or is another is fine.
pub(crate) async fn delete(
    client: &Client,
    kind: &Kind,
    key: &ObjectKey,
    uid: &str,
) -> kube::Result<()> {
    let parameters = DeleteParams {
        preconditions: Some(Preconditions {
            resource_version: None,
            uid: Some(uid.to_owned()),
        }),
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    };
    let request =
        Request::new(kind.url_path(key.namespace.as_deref())).delete(&key.name, &parameters);
    match client
        .request::<Value>(request.map_err(kube::Error::BuildRequest)?)
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(error),
    }
}
