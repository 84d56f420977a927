//! Guessing which known name a misspelt one was meant to be.

/// The known name closest to `unknown`, if one is close enough to be worth saying: at most a third of its letters
/// differ, letter case counting for nothing. A swap of two neighbours counts as one difference.
pub(crate) fn suggest<'k>(
    unknown: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    let wanted: Vec<char> = unknown.to_lowercase().chars().collect();
    // Longer than any field name: the quadratic comparison is not worth it.
    if wanted.len() > 64 {
        return None;
    }
    let allowed = (wanted.len() / 3).max(1);
    known
        .into_iter()
        .filter_map(|name| {
            let letters: Vec<char> = name.to_lowercase().chars().collect();
            let distance = distance(&wanted, &letters);
            (distance <= allowed && distance < letters.len()).then_some((distance, name))
        })
        .min()
        .map(|(_, name)| name)
}

/// How many insertions, removals, replacements and swaps of neighbours lead from one name to the other.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut before_last: Vec<usize> = vec![0; to.len() + 1];
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, &a) in from.iter().enumerate() {
        let mut row = Vec::with_capacity(to.len() + 1);
        row.push(i + 1);
        for (j, &b) in to.iter().enumerate() {
            let mut best = (last[j] + usize::from(a != b))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && a == to[j - 1] && from[i - 1] == b {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = last;
        last = row;
    }
    last[to.len()]
}
