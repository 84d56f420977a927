//! Names of images as they stand in the path of a request. Which names are valid is the engine's to say.

/// Whether a name is the same in a request's path as by itself: nothing in it ends the path or climbs out of it.
pub(super) fn is_plain(image: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-:@[]".contains(letter);
    image.split('/').all(|part| {
        !part.is_empty() && !part.chars().all(|letter| letter == '.') && part.chars().all(plain)
    })
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn every_name_of_an_image_is_plain_and_nothing_that_is_another_request() {
        let digest = format!("web@sha256:{}", "0f".repeat(32));
        let names = [
            "web",
            "shop/web:1.4.2",
            "localhost:5000/a/b__c:1",
            "[fd00::1]:5000/web",
            &digest,
        ];
        assert!(names.into_iter().all(is_plain));
        let others = [
            "",
            "../events?x=",
            "a/../b",
            "a//b",
            "/web",
            "web?x",
            "web#x",
            "web%2f",
            "w b",
            "wéb",
        ];
        for other in others {
            assert!(!is_plain(other), "{other}");
        }
    }
}
