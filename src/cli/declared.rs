//! What some files declare, checked by the server and compared with what is there: what `clos apply` and `clos plan` have in common.
//! Nothing is changed here.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clos_resources::names::LABEL_SOURCE;
use clos_sources::{
    DesiredSet, Kinds, Manifests, Mistakes, PrepareError, Prepared, Refusal, Scan, SyncOptions,
    prepare,
};
use futures::{StreamExt, TryStreamExt, stream};
use kube::core::DynamicObject;
use kube::{Api, Client, ResourceExt};

/// The word for standard input among the files.
const STANDARD_INPUT: &str = "-";

/// How many requests are under way at once.
const CONCURRENCY: usize = 16;

/// What became of looking at what is declared.
pub(crate) enum Looked<'a> {
    /// Everything was accepted by the server in a dry run.
    Sound(Box<Prepared<'a>>),
    /// The user's mistakes, all of them.
    Mistakes(Mistakes),
}

/// Reads files, folders and standard input.
pub(crate) fn read(paths: &[PathBuf], input: &mut dyn Read) -> anyhow::Result<Manifests> {
    let (dashes, files): (Vec<&PathBuf>, Vec<&PathBuf>) = paths
        .iter()
        .partition(|path| path.as_os_str() == STANDARD_INPUT);
    let mut manifests = Scan::of(files).manifests();
    if !dashes.is_empty() {
        let mut bytes = Vec::new();
        input
            .read_to_end(&mut bytes)
            .context("cannot read standard input")?;
        manifests.read(Path::new("standard input"), &bytes);
    }
    if manifests.objects.is_empty() && manifests.mistakes.is_empty() {
        let names: Vec<String> = paths
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        bail!(
            "nothing is declared in {}; give files or folders with .yaml, .yml or .json files that declare objects",
            names.join(", ")
        );
    }
    Ok(manifests)
}

/// The declared objects with the kinds that the server knows.
pub(crate) async fn set(client: &Client, manifests: Manifests) -> anyhow::Result<DesiredSet> {
    let kinds = Kinds::discover(client.clone())
        .await
        .context("cannot ask the server for its kinds")?;
    Ok(DesiredSet::new(manifests, kinds))
}

/// Compares what is declared with what the server holds, and has the server judge every difference. All mistakes are found at once.
pub(crate) async fn look<'a>(
    client: &Client,
    desired: &'a DesiredSet,
    options: &'a SyncOptions,
) -> anyhow::Result<Looked<'a>> {
    match prepare(client, desired, options).await {
        Ok(prepared) => Ok(Looked::Sound(Box::new(prepared))),
        Err(PrepareError::Refused(Refusal::Mistakes(mistakes))) => Ok(Looked::Mistakes(mistakes)),
        Err(
            error @ (PrepareError::Refused(_) | PrepareError::Observe(_) | PrepareError::Check(_)),
        ) => Err(error.into()),
    }
}

/// The one source that applied those of the objects which are there and belong to any. Its folder can be looked at as the source does.
pub(crate) async fn owner(client: &Client, desired: &DesiredSet) -> anyhow::Result<Option<String>> {
    let looks = desired.objects.iter().map(|(key, wanted)| {
        let api: Api<DynamicObject> = match &key.namespace {
            Some(namespace) => {
                Api::namespaced_with(client.clone(), namespace, &wanted.kind.resource)
            }
            None => Api::all_with(client.clone(), &wanted.kind.resource),
        };
        async move {
            let live = api
                .get_metadata_opt(&key.name)
                .await
                .with_context(|| format!("cannot read {key}"))?;
            anyhow::Ok(live.and_then(|live| live.labels().get(LABEL_SOURCE).cloned()))
        }
    });
    let looks: Vec<_> = looks.collect();
    let owners: Vec<Option<String>> = stream::iter(looks)
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await?;
    let owners: BTreeSet<String> = owners.into_iter().flatten().collect();
    let mut owners = owners.into_iter();
    Ok(owners.next().filter(|_| owners.next().is_none()))
}
