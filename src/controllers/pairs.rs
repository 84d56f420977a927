//! Values by key, many a key, in one tree: a tree for the values of each key would be nearly empty for most keys, and take as much room as a
//! full one.

use std::collections::BTreeSet;

/// Pairs of a key and one of its values, in order. No value may be less than the default one.
#[derive(Clone, Debug)]
pub(crate) struct Pairs<K, V>(BTreeSet<(K, V)>);

impl<K, V> Default for Pairs<K, V> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<K: Ord + Clone, V: Ord + Default> Pairs<K, V> {
    /// Puts a pair in.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.0.insert((key, value));
    }

    /// Takes a pair out.
    pub(crate) fn remove(&mut self, key: K, value: V) {
        self.0.remove(&(key, value));
    }

    /// The values of a key, in order.
    pub(crate) fn of(&self, key: K) -> impl Iterator<Item = &V> {
        self.0
            .range((key.clone(), V::default())..)
            .take_while(move |(of, _)| *of == key)
            .map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &Pairs<String, String>, key: &str) -> Vec<String> {
        pairs.of(key.to_owned()).cloned().collect()
    }

    #[test]
    fn a_key_has_the_values_that_were_put_in_and_not_taken_out() {
        let mut pairs = Pairs::default();
        for (key, value) in [("b", "2"), ("b", "1"), ("a", "9"), ("b", ""), ("c", "0")] {
            pairs.insert(key.to_owned(), value.to_owned());
        }
        assert_eq!(of(&pairs, "b"), ["", "1", "2"]);
        assert_eq!(of(&pairs, "bb"), [""; 0]);
        pairs.remove("b".to_owned(), "1".to_owned());
        pairs.remove("a".to_owned(), "9".to_owned());
        assert_eq!(of(&pairs, "b"), ["", "2"]);
        assert_eq!(of(&pairs, "a"), [""; 0]);
        assert_eq!(of(&pairs, "c"), ["0"]);
    }
}
