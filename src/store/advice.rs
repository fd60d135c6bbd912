//! What an object store's refusal means, in one line, and what to do about it.

use std::error::Error;

/// An error and everything behind it, the outermost first.
pub(crate) fn layers<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |layer: &&'e (dyn Error + 'static)| (*layer).source())
}

/// The words of all of them.
fn words(error: &object_store::Error) -> String {
    layers(error).map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// What is wrong in one line: advice where there is some, and what the store itself said.
pub(super) fn told(error: &object_store::Error) -> String {
    let said = said(error);
    advice(error).map_or_else(|| said.clone(), |advice| format!("{advice} (the store said: {said})"))
}

/// The store's own code and message, without the layers around them.
fn said(error: &object_store::Error) -> String {
    let text = layers(error).last().map(ToString::to_string).unwrap_or_default();
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(value, _)| value.trim())
    };
    let status =
        text.split_once("status code: ").map_or("", |(_, rest)| rest.split(':').next().unwrap_or(""));
    let said = match (element("Code"), element("Message")) {
        (Some(code), Some(message)) => format!("{status} {code}: {message}"),
        (Some(code), None) => format!("{status} {code}"),
        _ => text.clone(),
    };
    // Whatever it is, one line of it.
    said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(400).collect()
}

/// Whether it says that there is no such bucket or container.
pub(super) fn names_no_bucket(error: &object_store::Error) -> bool {
    let words = words(error);
    ["NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist"]
        .iter()
        .any(|code| words.contains(code))
}

/// One sentence that tells what to do, beginning with what is wrong; `None` when the store's own words must do.
pub(super) fn advice(error: &object_store::Error) -> Option<&'static str> {
    use object_store::Error;
    if names_no_bucket(error) {
        return Some("there is no such bucket: check its name, the endpoint and the region");
    }
    let words = words(error);
    let has = |codes: &[&str]| codes.iter().any(|code| words.contains(code));
    if has(&["ExpiredToken", "RequestExpired", "token has expired", "TokenRefreshRequired"]) {
        return Some("the credentials have expired: renew them, and run again");
    }
    if has(&[
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "AuthenticationFailed",
        "InvalidAuthenticationInfo",
    ]) {
        return Some("the store does not know these credentials: check the access key and its secret");
    }
    if has(&["AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraint", "301 Moved"]) {
        return Some(
            "the bucket is in another region: set AWS_REGION, or region in the registry's configuration",
        );
    }
    if has(&["RequestTimeTooSkewed"]) {
        return Some("this machine's clock and the store's are too far apart: set this one right");
    }
    if has(&["169.254.169.254", "metadata.google.internal", "169.254.170"]) {
        return Some(
            "no credentials are set, and no instance role answers: set the credentials of the store in the environment",
        );
    }
    if words.contains("empty path segment") || matches!(error, Error::InvalidPath { .. }) {
        return Some(
            "a key there has an empty, `.` or `..` part, which no registry writes: move that object elsewhere",
        );
    }
    let denied = matches!(error, Error::PermissionDenied { .. });
    if denied || has(&["AccessDenied", "AuthorizationPermissionMismatch", "403 Forbidden"]) {
        return Some(
            "these credentials may not: audit and plan need list and get, run needs put and delete as well",
        );
    }
    if matches!(error, Error::Unauthenticated { .. }) {
        return Some(
            "the store does not accept these credentials: check them, and that they are for this store",
        );
    }
    if has(&["Connection refused", "error trying to connect", "dns error", "tcp connect error"]) {
        return Some("the store does not answer at this endpoint: check its address, and that it is up");
    }
    None
}
