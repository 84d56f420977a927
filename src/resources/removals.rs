//! Removals that a guard holds back until a person confirms them: which they are, and the token that confirms exactly these. The guards
//! themselves are where things are removed: orphaned containers in planning, declarations that went in the sources.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Fewer removals than this need no confirmation, however few things there are.
const UNGUARDED: usize = 5;
/// So many are named.
const NAMED: usize = 20;
/// So many hexadecimal digits a token has.
const DIGITS: usize = 12;

/// Things that are to be removed at once, as a report and as something to confirm.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Removals {
    /// How many would go.
    pub count: u32,
    /// Of how many.
    pub of: u32,
    /// Whether they are held back until somebody confirms them.
    pub held: bool,
    /// Names of the first of them.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub names: Vec<String>,
    /// Confirms exactly these, and no others, as the value of the annotation `clos.dev/confirmed-removals`.
    pub token: String,
}

impl Removals {
    /// The removals of what is in `going`, by id with the name, out of `of` things in all.
    pub fn new(going: &BTreeMap<String, String>, of: usize, held: bool) -> Self {
        let mut digest = Sha256::new();
        for id in going.keys() {
            digest.update(id.len().to_le_bytes());
            digest.update(id);
        }
        let mut token = format!("{:x}", digest.finalize());
        token.truncate(DIGITS);
        let mut names: Vec<String> = going.values().cloned().collect();
        names.sort();
        names.truncate(NAMED);
        Self {
            count: u32::try_from(going.len()).unwrap_or(u32::MAX),
            of: u32::try_from(of).unwrap_or(u32::MAX),
            held,
            names,
            token,
        }
    }

    /// How many are not named.
    pub fn unnamed(&self) -> usize {
        usize::try_from(self.count)
            .unwrap_or(usize::MAX)
            .saturating_sub(self.names.len())
    }
}

/// Whether so many removals at once look like a mistake rather than a wish: five or more, and more than a quarter of all.
pub fn too_many(removed: usize, of: usize) -> bool {
    removed >= UNGUARDED && removed > of / 4
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn going(ids: impl IntoIterator<Item = usize>) -> BTreeMap<String, String> {
        ids.into_iter()
            .map(|id| (format!("id-{id:03}"), format!("name-{id:03}")))
            .collect()
    }

    #[test]
    fn many_are_five_and_more_than_a_quarter() {
        for (removed, of, many) in [
            (0, 0, false),
            (4, 4, false),
            (5, 5, true),
            (5, 19, true),
            (5, 20, false),
            (6, 20, true),
            (25, 100, false),
            (26, 100, true),
            (usize::MAX, usize::MAX, true),
        ] {
            assert_eq!(too_many(removed, of), many, "{removed} of {of}");
        }
    }

    #[test]
    fn a_report_names_the_first_twenty_and_counts_the_others() {
        let report = Removals::new(&going(0..23), 30, true);
        assert_eq!((report.count, report.of, report.unnamed()), (23, 30, 3));
        assert_eq!(report.names.len(), 20);
        assert_eq!(report.names[0], "name-000");
        assert_eq!(report.token.len(), 12);
    }

    proptest! {
        #[test]
        fn a_token_is_of_these_and_no_others(
            a in prop::collection::btree_set(0..30usize, 0..8), b in prop::collection::btree_set(0..30usize, 0..8),
            of in 0..50usize, held in any::<bool>(),
        ) {
            let token = |ids| Removals::new(&going(ids), of, held).token;
            prop_assert_eq!(token(a.clone()) == token(b.clone()), a == b);
        }
    }
}
