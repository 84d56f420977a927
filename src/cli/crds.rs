//! `clos crds`: the `CustomResourceDefinition`s, for Kubernetes clusters, for editors and for the repository's `crds/` folder.

use anyhow::Context;

use crate::Ending;
use crate::args::CrdsArgs;
use crate::output;

pub(crate) fn run(args: CrdsArgs) -> anyhow::Result<Ending> {
    let CrdsArgs { directory } = args;
    for crd in clos_resources::crds() {
        let yaml = serde_saphyr::to_string(&crd)?;
        match &directory {
            None => output::print(&format!("---\n{yaml}"))?,
            Some(folder) => {
                let path = folder.join(format!("{}.yaml", crd.spec.names.plural));
                std::fs::write(&path, &yaml)
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
    }
    Ok(Ending::Done)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

    use super::*;

    #[test]
    fn every_kind_gets_a_file_that_reads_back_as_its_definition() {
        let folder = tempfile::tempdir().unwrap();
        run(CrdsArgs {
            directory: Some(folder.path().to_owned()),
        })
        .unwrap();
        for crd in clos_resources::crds() {
            let path = folder
                .path()
                .join(format!("{}.yaml", crd.spec.names.plural));
            let text = std::fs::read_to_string(path).unwrap();
            assert_eq!(
                serde_saphyr::from_str::<CustomResourceDefinition>(&text).unwrap(),
                crd
            );
        }
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            clos_resources::crds().len()
        );
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = run(CrdsArgs {
            directory: Some("/no/such/folder".into()),
        })
        .unwrap_err()
        .to_string();
        assert!(
            error.starts_with("cannot write /no/such/folder/"),
            "{error}"
        );
    }
}
