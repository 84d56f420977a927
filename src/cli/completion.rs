//! Shell completion: the set-up line, and names of live objects. A server that does not answer completes nothing and says nothing.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::time::Duration;

use clap_complete::Shell;
use clap_complete::engine::CompletionCandidate;
use clos_resources::{Group, Instance, Service};
use kube::api::ListParams;
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::Ending;
use crate::args::Connection;
use crate::{confirm, output};

/// How long a shell may be kept waiting.
const PATIENCE: Duration = Duration::from_millis(800);

pub(crate) fn run(shell: Shell) -> anyhow::Result<Ending> {
    let line = match shell {
        Shell::Bash => "source <(COMPLETE=bash clos)",
        Shell::Zsh => "source <(COMPLETE=zsh clos)",
        Shell::Fish => "COMPLETE=fish clos | source",
        Shell::Elvish => "eval (E:COMPLETE=elvish clos | slurp)",
        Shell::PowerShell => {
            "$env:COMPLETE = \"powershell\"; clos | Out-String | Invoke-Expression; Remove-Item Env:\\COMPLETE"
        }
        other => anyhow::bail!(
            "there is no completion for {other}; there is one for bash, zsh, fish, elvish and powershell"
        ),
    };
    output::line(line)?;
    Ok(Ending::Done)
}

/// Names of groups.
pub(crate) fn groups(current: &OsStr) -> Vec<CompletionCandidate> {
    complete(current, async |client| names::<Group>(client, "").await)
}

/// Names of services and instances.
pub(crate) fn services_and_instances(current: &OsStr) -> Vec<CompletionCandidate> {
    complete(current, async |client| {
        let mut found = names::<Service>(client, "").await;
        found.extend(names::<Instance>(client, "").await);
        found
    })
}

/// Services, and groups as `group/NAME`.
pub(crate) fn targets(current: &OsStr) -> Vec<CompletionCandidate> {
    complete(current, async |client| {
        let mut found = names::<Service>(client, "").await;
        found.extend(names::<Group>(client, "group/").await);
        found
    })
}

/// Names of objects of any of our namespaced kinds.
pub(crate) fn objects(current: &OsStr) -> Vec<CompletionCandidate> {
    complete(current, async |client| {
        let mut found = names::<Service>(client, "").await;
        found.extend(names::<Group>(client, "").await);
        found.extend(names::<Instance>(client, "").await);
        found
    })
}

/// Where removals wait for a confirmation.
pub(crate) fn waiting(current: &OsStr) -> Vec<CompletionCandidate> {
    complete(current, async |client| confirm::places(client).await)
}

fn complete(
    current: &OsStr,
    find: impl AsyncFnOnce(&Client) -> Vec<String>,
) -> Vec<CompletionCandidate> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    else {
        return Vec::new();
    };
    let connection = Connection {
        kubeconfig: crate::connect::environment("CLOS_KUBECONFIG").map(Into::into),
        engine: None,
    };
    let found = runtime.block_on(async {
        let search = async {
            let client = connection.client().await.ok()?;
            Some(find(&client).await)
        };
        tokio::time::timeout(PATIENCE, search).await.ok().flatten()
    });
    offered(found.unwrap_or_default(), &current.to_string_lossy())
        .into_iter()
        .map(CompletionCandidate::new)
        .collect()
}

/// The names that begin with what is typed, each once.
fn offered(names: Vec<String>, typed: &str) -> BTreeSet<String> {
    names
        .into_iter()
        .filter(|name| name.starts_with(typed))
        .collect()
}

async fn names<K>(client: &Client, prefix: &str) -> Vec<String>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let listed = Api::<K>::all(client.clone())
        .list(&ListParams::default())
        .await;
    listed
        .map(|list| {
            list.items
                .iter()
                .map(|object| format!("{prefix}{}", object.name_any()))
                .collect()
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use clos_sources::Manifests;

    use super::*;

    #[tokio::test]
    async fn names_of_live_objects_are_offered() {
        let client = crate::tests::server().await;
        let mut manifests = Manifests::default();
        let text =
            b"apiVersion: clos.dev/v1alpha1\nkind: Group\nmetadata: { name: shop }\nspec: {}\n";
        manifests.read(std::path::Path::new("shop.yaml"), text);
        crate::apply::apply(&client, manifests, &mut |_| Ok(()))
            .await
            .unwrap();
        assert_eq!(names::<Group>(&client, "group/").await, ["group/shop"]);
        assert_eq!(names::<Service>(&client, "").await, Vec::<String>::new());
    }

    #[test]
    fn only_what_begins_like_the_typed_is_offered_and_each_name_once() {
        let names = ["web", "worker", "db", "web"].map(str::to_owned).to_vec();
        assert_eq!(Vec::from_iter(offered(names, "w")), ["web", "worker"]);
    }
}
