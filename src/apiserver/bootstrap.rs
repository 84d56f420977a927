//! What must exist before the first request: namespaces, the definitions of the kinds as objects, and the key that
//! seals continue tokens. What exists is not written again, so that a restart changes nothing.

use clos_auth::Identity;
use clos_store::{CommitError, Expect, Put, ReadError, Store};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};
use thiserror::Error;

use crate::State;
use crate::audit;
use crate::caller::Caller;
use crate::core::established;
use crate::registry::{Kind, KindError};
use crate::request::{ResourceRequest, Verb};
use crate::schema::Findings;
use crate::status::{ApiError, Reason};
use crate::storage::{Change, Position, Terms, decode, place_of_key, seconds};

/// The namespaces that clients count on, and the one for clos' own leases.
const NAMESPACES: [&str; 3] = ["default", "kube-system", "clos-system"];

/// Where the key lies that seals continue tokens. It outlives restarts, so that a client may go on with its list.
const SEAL_KEY: &str = "/apiserver/continue-seal";

/// Why an API server could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A kind cannot be served.
    #[error("the API cannot be set up")]
    Kind(#[source] KindError),
    /// The store cannot be read.
    #[error("the state of the API cannot be read")]
    Read(#[source] ReadError),
    /// The store cannot be written.
    #[error("the state of the API cannot be prepared")]
    Write(#[source] CommitError),
    /// An object that must exist cannot be made.
    #[error("{object} cannot be made: {reason}")]
    Object {
        /// Which.
        object: String,
        /// Why, in a sentence.
        reason: String,
    },
}

/// The key that seals continue tokens, made at the first start.
pub(crate) async fn seal(store: &Store) -> Result<Vec<u8>, StartError> {
    if let Some(entry) = store.get(SEAL_KEY).map_err(StartError::Read)? {
        return Ok(entry.value.to_vec());
    }
    let seal: [u8; 32] = rand::random();
    let put = Put {
        expect: Expect::Absent,
        ..Put::new(SEAL_KEY, seal.to_vec())
    };
    store.put(put).await.map_err(StartError::Write)?;
    Ok(seal.to_vec())
}

/// Makes the namespaces and definitions that are missing, and brings definitions up to date.
pub(crate) async fn populate(
    state: &State,
    crds: &[CustomResourceDefinition],
) -> Result<(), StartError> {
    for name in NAMESPACES {
        let object =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        ensure(state, "", "namespaces", object).await?;
    }
    for crd in crds {
        let object = established(crd, (state.clock)()).map_err(|error| StartError::Object {
            object: crd.metadata.name.clone().unwrap_or_default(),
            reason: error.to_string(),
        })?;
        ensure(
            state,
            "apiextensions.k8s.io",
            "customresourcedefinitions",
            object,
        )
        .await?;
    }
    Ok(())
}

async fn ensure(state: &State, group: &str, plural: &str, object: Value) -> Result<(), StartError> {
    let name = object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let failed = |error: &ApiError| StartError::Object {
        object: format!("{plural} {name}"),
        reason: error.to_string(),
    };
    let kind = state
        .registry
        .find(group, "v1", plural)
        .ok_or_else(|| failed(&ApiError::unknown_resource()))?;
    let outcome = match state
        .storage
        .find(kind, None, &name)
        .map_err(|error| failed(&error))?
    {
        None => make(state, kind, object).await,
        // A namespace belongs to its users; a definition to the program.
        Some(_) if kind.strategy.read_only => renew(state, kind, &name, object).await,
        Some(_) => Ok(()),
    };
    outcome.map_err(|error| failed(&error))
}

async fn make(state: &State, kind: &Kind, mut object: Value) -> Result<(), ApiError> {
    let metadata = &mut object["metadata"];
    metadata["uid"] = json!(uuid::Uuid::new_v4().to_string());
    metadata["creationTimestamp"] = json!(seconds((state.clock)()));
    (kind.strategy.prepare_for_create)(&mut object);
    let record = |object: &Value| {
        audit::change(
            &state.journal,
            &ourselves(),
            &request(kind, Verb::Create),
            kind,
            object,
            201,
        )
    };
    let terms = Terms {
        dry_run: false,
        retry: false,
        record: &record,
    };
    match state.storage.create(kind, object, &terms).await {
        Err(error) if error.reason() == Reason::AlreadyExists => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Brings the stored objects of a changed kind into the form its new schema gives them: reads do not fill defaults in.
async fn migrate(state: &State, definition: &Value) -> Result<(), ApiError> {
    let text = |path: &str| {
        definition
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (group, plural) = (text("/spec/group"), text("/spec/names/plural"));
    let kinds = state
        .registry
        .kinds()
        .iter()
        .filter(|kind| kind.group == group && kind.plural == plural);
    for kind in kinds {
        let page = state.storage.list(kind, None, &Position::Newest, 0, None)?;
        for entry in page.entries {
            let (namespace, name) = place_of_key(kind, &entry.key);
            let request = request(kind, Verb::Update);
            let record = |object: &Value| {
                audit::change(&state.journal, &ourselves(), &request, kind, object, 200)
            };
            let terms = Terms {
                dry_run: false,
                retry: true,
                record: &record,
            };
            let change = |mut object: Value| {
                // What is invalid by the new schema stays as it is, and is told at the next write.
                kind.schema.admit(&mut object, &mut Findings::default());
                Ok(Change::Write(object))
            };
            match state
                .storage
                .change(kind, namespace, name, &terms, change)
                .await
            {
                Err(error) if error.reason() != Reason::NotFound => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
    }
    Ok(())
}

/// Writes the definition where its spec differs from the stored one, after its objects: a crash in between repeats both.
async fn renew(state: &State, kind: &Kind, name: &str, wanted: Value) -> Result<(), ApiError> {
    let stored = state.storage.get(kind, None, name)?;
    let stored = decode(&stored.value, stored.revision).map_err(ApiError::internal)?;
    if stored["spec"] == wanted["spec"] {
        return Ok(());
    }
    migrate(state, &wanted).await?;
    let record = |object: &Value| {
        audit::change(
            &state.journal,
            &ourselves(),
            &request(kind, Verb::Update),
            kind,
            object,
            200,
        )
    };
    let terms = Terms {
        dry_run: false,
        retry: true,
        record: &record,
    };
    let change = |mut stored: Value| {
        for field in ["spec", "status"] {
            stored[field] = wanted[field].clone();
        }
        Ok(Change::Write(stored))
    };
    state
        .storage
        .change(kind, None, name, &terms, change)
        .await
        .map(drop)
}

fn ourselves() -> Caller {
    Caller {
        identity: Some(Identity::component("apiserver")),
        remote: None,
        request_id: "start".to_owned(),
        agent: None,
        manager: Some("the start of the server".to_owned()),
        dry_run: false,
    }
}

fn request(kind: &Kind, verb: Verb) -> ResourceRequest {
    ResourceRequest {
        verb,
        group: kind.group.clone(),
        version: kind.version.clone(),
        namespace: None,
        resource: kind.plural.clone(),
        name: None,
        subresource: None,
    }
}
