//! References of images, read as container runtimes read them.

use std::{fmt, net::Ipv6Addr, str::FromStr};

/// An image's reference with everything filled in: `nginx` is `docker.io/library/nginx:latest`. The
/// grammar and the names that are filled in are those of <https://github.com/distribution/reference>.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The host that has it, with its port if there is one.
    pub registry: String,
    /// The path on that host.
    pub repository: String,
    /// Its tag; None only where there is a digest.
    pub tag: Option<String>,
    /// Its digest, which decides what runs, whatever the tag.
    pub digest: Option<String>,
}

/// The text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an image reference: write [REGISTRY/]NAME[:TAG][@sha256:DIGEST], the name in lower case"
)]
pub struct NotAReference(String);

const DOCKER_HUB: &str = "docker.io";

impl Reference {
    /// Registry and repository.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.registry, self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(formatter, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(formatter, "@{digest}"))
    }
}

impl FromStr for Reference {
    type Err = NotAReference;

    fn from_str(text: &str) -> Result<Self, NotAReference> {
        read(text).ok_or_else(|| NotAReference(text.chars().take(200).collect()))
    }
}

fn read(text: &str) -> Option<Reference> {
    // Runtimes take these for the identifier of an image on the node, or its beginning.
    let is_identifier = text.len() == 64 && text.bytes().all(is_hexadecimal);
    if is_identifier || text.split_once(':').is_some_and(|(algorithm, _)| is_algorithm(algorithm)) {
        return None;
    }
    let (named, digest) = match text.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (text, None),
    };
    // A colon before the last slash is that of a port.
    let last = named.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match named.get(last..)?.find(':') {
        Some(colon) => (named.get(..last + colon)?, named.get(last + colon + 1..)),
        None => (named, None),
    };
    let (registry, path) = match name.split_once('/') {
        Some((first, rest)) if is_registry(first) => (first, rest),
        _ => (DOCKER_HUB, name),
    };
    let registry = if registry == "index.docker.io" { DOCKER_HUB } else { registry };
    let is_official = registry == DOCKER_HUB && !path.contains('/');
    let fits = is_host(registry)
        && path.len() <= 255
        && path.split('/').all(is_component)
        && tag.is_none_or(is_tag)
        && digest.is_none_or(is_digest);
    let tag = tag.or(if digest.is_none() { Some("latest") } else { None });
    fits.then(|| Reference {
        registry: registry.into(),
        repository: if is_official { format!("library/{path}") } else { path.into() },
        tag: tag.map(Into::into),
        digest: digest.map(Into::into),
    })
}

/// Whether the first part of a name is a host; otherwise it is a namespace on Docker Hub.
fn is_registry(first: &str) -> bool {
    first == "localhost"
        || first.contains(|char: char| matches!(char, '.' | ':') || char.is_ascii_uppercase())
}

fn is_host(registry: &str) -> bool {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !registry.ends_with(']') => (host, Some(port)),
        _ => (registry, None),
    };
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_label = |label: &str| {
        let (first, last) = (label.bytes().next(), label.bytes().last());
        label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && first.is_some_and(|byte| byte != b'-')
            && last.is_some_and(|byte| byte != b'-')
    };
    let is_name = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => host.split('.').all(is_label),
    };
    is_name && port.is_none_or(is_port)
}

/// Letters and digits, with separators between them: one dot, one or two underscores, or hyphens.
fn is_component(component: &str) -> bool {
    let is_inner = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit();
    let separators = component.split(is_inner).filter(|separator| !separator.is_empty());
    component.starts_with(is_inner)
        && component.ends_with(is_inner)
        && separators.into_iter().all(|separator| {
            matches!(separator, "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
        })
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=128).contains(&tag.len())
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || b".-".contains(&byte))
}

/// The algorithms of digests, with how many digits their sums have.
const ALGORITHMS: [(&str, usize); 3] = [("sha256", 64), ("sha384", 96), ("sha512", 128)];

fn is_algorithm(text: &str) -> bool {
    ALGORITHMS.iter().any(|(algorithm, _)| *algorithm == text)
}

fn is_digest(digest: &str) -> bool {
    digest.split_once(':').is_some_and(|(algorithm, sum)| {
        ALGORITHMS.contains(&(algorithm, sum.len())) && sum.bytes().all(is_hexadecimal)
    })
}

fn is_hexadecimal(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn whole(text: &str) -> Option<String> {
        text.parse::<Reference>().ok().map(|reference| reference.to_string())
    }

    #[test]
    fn references_are_filled_in() {
        let rows = [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("nginx:5000", "docker.io/library/nginx:5000"),
            ("team/app", "docker.io/team/app:latest"),
            ("docker.io/nginx", "docker.io/library/nginx:latest"),
            ("index.docker.io/nginx", "docker.io/library/nginx:latest"),
            ("docker.io", "docker.io/library/docker.io:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app", "localhost:5000/app:latest"),
            ("[fd00::1]:5000/app", "[fd00::1]:5000/app:latest"),
            ("[fd00::1]/app", "[fd00::1]/app:latest"),
            ("registry.example.com/a/b:1", "registry.example.com/a/b:1"),
            ("a/b.c__d---e:F_1.-", "docker.io/a/b.c__d---e:F_1.-"),
            // A first part with a capital is a host, though it looks like a namespace.
            ("Evil/nginx", "Evil/nginx:latest"),
            ("DOCKER.IO/nginx", "DOCKER.IO/nginx:latest"),
        ];
        for (text, wanted) in rows {
            assert_eq!(whole(text).as_deref(), Some(wanted), "{text}");
        }
        for name in ["nginx", "nginx:1.27"] {
            let wanted = format!("docker.io/library/{name}@{SHA}");
            assert_eq!(whole(&format!("{name}@{SHA}")), Some(wanted));
        }
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        let (long, long_tag) = ("a".repeat(256), format!("a:{}", "b".repeat(129)));
        let texts = [
            "",
            " ",
            "nginx ",
            "NGINX",
            "evil/NGINX",
            "a//b",
            "/a",
            "a/",
            "a:",
            "a:b:c",
            ":a",
            "@",
            "a@",
            "a@b",
            "a@sha256:1",
            "a@md5:e3b0c44298fc1c149afbf4c8996fb924",
            "https://a/b",
            "../a",
            "a/../b",
            "a/./b",
            "a b",
            "a\nb",
            "nginx:ü",
            "ünginx",
            "[::1/a",
            "[x]:5000/a",
            "a.b:/c",
            "a.b:x/c",
            "-a.b/c",
            "a..b/c",
            "a.-b/c",
            "a_",
            "a___b",
            "a.-b",
            "*",
            "a/*",
            &SHA["sha256:".len()..],
            SHA,
            "sha256:e3b0",
            &long,
            &long_tag,
            &format!("a@{SHA}@{SHA}"),
            &format!("a@{}", SHA.to_uppercase()),
            &format!("a@{}", SHA.replace('e', "E")),
        ];
        for text in texts {
            assert_eq!(whole(text), None, "{text}");
        }
    }
}
