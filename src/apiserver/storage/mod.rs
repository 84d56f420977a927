//! Objects on the store: where they lie, how they are read and changed, and what the store's errors mean to a client.
//! Not here: what a client may ask for (`verbs`) and what a change must look like (`verbs::admission`).

mod deletion;
mod error;
mod object;
mod page;

use aws_lc_rs::hmac;
use clos_store::{CommitError, Delete, Entry, Expect, Put, Record, Store};
use serde_json::Value;

pub(crate) use deletion::{
    DeleteOptions, Deletion, Propagation, mark, refuse_permanent, release, seconds,
};
pub(crate) use error::{commit_error, read_error, watch_error};
pub(crate) use object::{decode, encode, with_revision, write_with_revision};
pub(crate) use page::{Filter, ListPage, Position};

use crate::registry::Kind;
use crate::status::ApiError;

/// Where all objects lie.
const ROOT: &str = "/registry/";

/// How often a change is tried again when others were faster.
const ATTEMPTS: usize = 16;

/// Objects on the store. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Storage {
    store: Store,
    /// Seals continue tokens.
    seal: hmac::Key,
}

/// An object as an answer needs it.
#[derive(Debug, Clone)]
pub(crate) enum Object {
    /// As it lies in the store: text that needs no parsing to be answered.
    Stored(Entry),
    /// As it would lie there, or is converted from there.
    Value(Value),
}

/// What one attempt at a change decided.
#[derive(Debug)]
pub(crate) enum Change {
    /// Store this.
    Write(Value),
    /// Remove the object; this is its last state.
    Remove(Value),
    /// It is already as asked.
    None,
}

/// What a change came to.
#[derive(Debug)]
pub(crate) enum Changed {
    /// The object as it is now.
    Kept(Object),
    /// It is gone; this was its last state.
    Removed(Value),
}

/// How a change is carried out.
pub(crate) struct Terms<'a> {
    /// Whether everything is done but the write.
    pub(crate) dry_run: bool,
    /// Whether to start again on the newer object when somebody else was faster.
    pub(crate) retry: bool,
    /// The audit record of a change to this object, committed with it.
    pub(crate) record: &'a (dyn Fn(&Value) -> Option<Record> + Sync),
}

impl Storage {
    /// Objects on `store`; `seal` is the secret that continue tokens are sealed with.
    pub(crate) fn new(store: Store, seal: &[u8]) -> Self {
        Self {
            store,
            seal: hmac::Key::new(hmac::HMAC_SHA256, seal),
        }
    }

    /// The store below.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The object, or 404.
    pub(crate) fn get(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Entry, ApiError> {
        self.find(kind, namespace, name)?
            .ok_or_else(|| ApiError::not_found(&kind.group, &kind.plural, name))
    }

    /// The object, if there is one.
    pub(crate) fn find(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Entry>, ApiError> {
        self.store
            .get(&key(kind, namespace, name))
            .map_err(read_error)
    }

    /// Stores a new object; 409 when its name is taken.
    pub(crate) async fn create(
        &self,
        kind: &Kind,
        object: Value,
        terms: &Terms<'_>,
    ) -> Result<Object, ApiError> {
        let (namespace, name) = place(&object);
        let key = key(kind, namespace, name);
        let taken = |name: &str| ApiError::already_exists(&kind.group, &kind.plural, name);
        if terms.dry_run {
            return match self.store.get(&key).map_err(read_error)? {
                Some(_) => Err(taken(name)),
                None => Ok(Object::Value(object)),
            };
        }
        let value = stored_form(kind, &object);
        let put = Put {
            key,
            value,
            expect: Expect::Absent,
            record: (terms.record)(&object),
        };
        match self.store.put(put).await {
            Ok(committed) => Ok(Object::Stored(committed.entry)),
            Err(CommitError::Exists { .. }) => Err(taken(name)),
            Err(error) => Err(commit_error(error)),
        }
    }

    /// Reads the object, lets `change` decide, and carries the decision out on exactly the state it was made on.
    pub(crate) async fn change(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        terms: &Terms<'_>,
        mut change: impl FnMut(Value) -> Result<Change, ApiError>,
    ) -> Result<Changed, ApiError> {
        let modified = || ApiError::modified(&kind.group, &kind.plural, name);
        for _ in 0..ATTEMPTS {
            let entry = self.get(kind, namespace, name)?;
            let key = entry.key.clone();
            let expect = Expect::Revision(entry.revision);
            let outcome = match change(Object::Stored(entry.clone()).into_value(kind)?)? {
                Change::None => return Ok(Changed::Kept(Object::Stored(entry))),
                Change::Write(mut object) if terms.dry_run => {
                    object["metadata"]["resourceVersion"] =
                        Value::String(entry.revision.to_string());
                    return Ok(Changed::Kept(Object::Value(object)));
                }
                Change::Remove(object) if terms.dry_run => return Ok(Changed::Removed(object)),
                Change::Write(object) => {
                    let value = stored_form(kind, &object);
                    // Writing what is there already would wake every watcher for nothing.
                    if value == entry.value[..] {
                        return Ok(Changed::Kept(Object::Stored(entry)));
                    }
                    let record = (terms.record)(&object);
                    let put = Put {
                        key,
                        value,
                        expect,
                        record,
                    };
                    self.store
                        .put(put)
                        .await
                        .map(|committed| Changed::Kept(Object::Stored(committed.entry)))
                }
                Change::Remove(mut object) => {
                    let record = (terms.record)(&object);
                    self.store
                        .delete(Delete {
                            key,
                            expect,
                            record,
                        })
                        .await
                        .map(|committed| {
                            object["metadata"]["resourceVersion"] =
                                Value::String(committed.revision.to_string());
                            Changed::Removed(object)
                        })
                }
            };
            match outcome {
                Ok(changed) => return Ok(changed),
                Err(CommitError::NotFound { .. }) => {
                    return Err(ApiError::not_found(&kind.group, &kind.plural, name));
                }
                Err(CommitError::Conflict { .. } | CommitError::Exists { .. }) if terms.retry => {}
                Err(CommitError::Conflict { .. } | CommitError::Exists { .. }) => {
                    return Err(modified());
                }
                Err(error) => return Err(commit_error(error)),
            }
        }
        Err(modified())
    }
}

impl Object {
    /// The object, parsed and with its resource version, as `kind` serves it.
    pub(crate) fn into_value(self, kind: &Kind) -> Result<Value, ApiError> {
        match self {
            Self::Value(value) => Ok(value),
            Self::Stored(entry) => {
                let mut value =
                    decode(&entry.value, entry.revision).map_err(|_| unreadable(&entry.key))?;
                if let Some(conversion) = kind.strategy.conversion {
                    (conversion.from_stored)(&mut value);
                }
                Ok(value)
            }
        }
    }

    /// The object's JSON text with its resource version, as `kind` serves it.
    pub(crate) fn into_json(self, kind: &Kind) -> Result<Vec<u8>, ApiError> {
        match self {
            Self::Stored(entry) if kind.strategy.conversion.is_none() => {
                Ok(with_revision(&entry.value, entry.revision))
            }
            stored @ Self::Stored(_) => Ok(stored.into_value(kind)?.to_string().into_bytes()),
            Self::Value(value) => Ok(value.to_string().into_bytes()),
        }
    }
}

/// The key of an object.
pub(crate) fn key(kind: &Kind, namespace: Option<&str>, name: &str) -> String {
    let mut key = prefix(kind, namespace);
    key.push_str(name);
    key
}

/// What the keys of all objects of a kind, or of one namespace, begin with.
pub(crate) fn prefix(kind: &Kind, namespace: Option<&str>) -> String {
    let group = kind
        .strategy
        .conversion
        .map_or(kind.group.as_str(), |conversion| conversion.group);
    let group = if group.is_empty() { "core" } else { group };
    match namespace {
        Some(namespace) if kind.namespaced => format!("{ROOT}{group}/{}/{namespace}/", kind.plural),
        Some(_) | None => format!("{ROOT}{group}/{}/", kind.plural),
    }
}

/// The namespace and name within a key of this kind.
pub(crate) fn place_of_key<'k>(kind: &Kind, key: &'k str) -> (Option<&'k str>, &'k str) {
    let mut parts = key.rsplit('/');
    let name = parts.next().unwrap_or_default();
    let namespace = if kind.namespaced { parts.next() } else { None };
    (namespace, name)
}

/// The namespace and name an object says it has.
pub(crate) fn place(object: &Value) -> (Option<&str>, &str) {
    let metadata = &object["metadata"];
    (
        metadata["namespace"].as_str(),
        metadata["name"].as_str().unwrap_or_default(),
    )
}

fn stored_form(kind: &Kind, object: &Value) -> Vec<u8> {
    match kind.strategy.conversion {
        None => encode(object),
        Some(conversion) => {
            let mut converted = object.clone();
            (conversion.to_stored)(&mut converted);
            encode(&converted)
        }
    }
}

fn unreadable(key: &str) -> ApiError {
    tracing::error!(key, "a stored object is not JSON");
    ApiError::internal(format!("the stored object {key} cannot be read"))
}
