//! What errors look like to clients.

use axum::response::IntoResponse as _;
use insta::{assert_json_snapshot, assert_snapshot};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Every constructor once, as a client sees it.
fn one_of_each() -> Vec<(&'static str, ApiError)> {
    let cause = Cause::required("spec.image", "");
    vec![
        (
            "not_found",
            ApiError::not_found("clos.dev", "services", "web"),
        ),
        (
            "not_found in the core group",
            ApiError::not_found("", "secrets", "web"),
        ),
        ("unknown_resource", ApiError::unknown_resource()),
        (
            "already_exists",
            ApiError::already_exists("clos.dev", "services", "web"),
        ),
        (
            "generate_name_conflict",
            ApiError::generate_name_conflict("clos.dev", "services", "web-"),
        ),
        (
            "modified",
            ApiError::modified("clos.dev", "services", "web"),
        ),
        (
            "invalid",
            ApiError::invalid("clos.dev", "Service", "web", vec![cause]),
        ),
        (
            "unprocessable",
            ApiError::unprocessable("the patch cannot be applied"),
        ),
        ("bad_request", ApiError::bad_request("no JSON")),
        ("unauthorized", ApiError::unauthorized()),
        (
            "forbidden",
            ApiError::forbidden("clos.dev", "services", "web", "not yours"),
        ),
        (
            "namespace_terminating",
            ApiError::namespace_terminating("clos.dev", "services", "web", "shop"),
        ),
        (
            "expired",
            ApiError::expired("too old resource version: 1 (16)"),
        ),
        (
            "expired_continue",
            ApiError::expired_continue("TOKEN".to_owned()),
        ),
        ("request_too_large", ApiError::request_too_large(3_145_728)),
        (
            "unsupported_media_type",
            ApiError::unsupported_media_type(&["application/json", "application/yaml"]),
        ),
        (
            "not_acceptable",
            ApiError::not_acceptable(&["application/json"]),
        ),
        (
            "method_not_allowed",
            ApiError::method_not_allowed("clos.dev", "ports", "update"),
        ),
        (
            "too_large_resource_version",
            ApiError::too_large_resource_version(99, 16),
        ),
        (
            "timeout",
            ApiError::timeout("request did not complete within requested timeout"),
        ),
        ("internal", ApiError::internal("the store is closed")),
        (
            "unavailable",
            ApiError::unavailable("the server is stopping"),
        ),
    ]
}

#[test]
fn every_error_is_a_status_with_its_code_and_reason() {
    let all: Vec<Value> = one_of_each()
        .into_iter()
        .map(|(name, error)| json!({ "constructor": name, "status": error.to_value() }))
        .collect();
    assert_json_snapshot!(all);
}

#[test]
fn the_http_answer_carries_the_code_of_the_body_and_retry_after_where_the_body_has_it() {
    for (name, error) in one_of_each() {
        let body = error.to_value();
        let response = error.into_response();
        assert_eq!(body["code"], json!(response.status().as_u16()), "{name}");
        assert_eq!(
            response.headers()["content-type"],
            "application/json",
            "{name}"
        );
        let header = response
            .headers()
            .get("retry-after")
            .map(|value| value.to_str().unwrap().to_owned());
        let seconds = body
            .pointer("/details/retryAfterSeconds")
            .map(Value::to_string);
        assert_eq!(header, seconds, "{name}");
    }
}

#[test]
fn an_invalid_object_lists_its_mistakes_in_the_message_and_each_once() {
    let image = Cause::required("spec.image", "");
    let port = Cause::invalid("spec.ports[0].hostPort", &json!(80_000), "give 1 to 65535");
    let one = ApiError::invalid("clos.dev", "Service", "web", vec![image.clone()]);
    assert_snapshot!(one, @r#"Service.clos.dev "web" is invalid: spec.image: Required value"#);
    let none = ApiError::invalid("", "Secret", "web", Vec::new());
    assert_snapshot!(none, @r#"Secret "web" is invalid"#);
    let many = ApiError::invalid(
        "clos.dev",
        "Service",
        "web",
        vec![image.clone(), port, image],
    );
    assert_snapshot!(many, @r#"Service.clos.dev "web" is invalid: [spec.image: Required value, spec.ports[0].hostPort: Invalid value: 80000: give 1 to 65535]"#);
    assert_eq!(
        many.to_value()["details"]["causes"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
}

#[test]
fn a_pure_function_s_error_can_be_told_whom_it_concerns() {
    let error = ApiError::unprocessable("the patch cannot be applied")
        .concerning("clos.dev", "services", "web");
    assert_eq!(
        error.to_value()["details"],
        json!({ "group": "clos.dev", "kind": "services", "name": "web" })
    );
    assert_eq!(error.reason(), Reason::Invalid);
    assert_eq!(error.code(), http::StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(error.message(), "the patch cannot be applied");
}

#[test]
fn causes_say_what_is_wrong_in_the_servers_words() {
    let cases = [
        (
            Cause::required("a", "give an image"),
            "a: Required value: give an image",
        ),
        (Cause::forbidden("a", "not here"), "a: Forbidden: not here"),
        (
            Cause::too_long("a", 63),
            "a: Too long: may not be more than 63 bytes",
        ),
        (
            Cause::too_long("a", 1),
            "a: Too long: may not be more than 1 byte",
        ),
        (
            Cause::too_many("a", 3, 2),
            "a: Too many: 3: must have at most 2 items",
        ),
        (
            Cause::invalid("a", &json!("x\"y"), "no"),
            r#"a: Invalid value: "x\"y": no"#,
        ),
        (
            Cause::invalid("a", &json!({ "b": "<1>" }), "no"),
            r#"a: Invalid value: {"b":"\u003c1\u003e"}: no"#,
        ),
        (
            Cause::invalid("a", &Value::Null, "no"),
            "a: Invalid value: null: no",
        ),
        (
            Cause::invalid("a", &json!(2.0), "no"),
            "a: Invalid value: 2: no",
        ),
        (
            Cause::invalid("a", &json!(1e21), "no"),
            "a: Invalid value: 1e+21: no",
        ),
        (
            Cause::invalid("a", &json!(0.000_01), "no"),
            "a: Invalid value: 1e-05: no",
        ),
        (
            Cause::duplicate("a", &json!({ "name": "x" })),
            r#"a: Duplicate value: {"name":"x"}"#,
        ),
        (
            Cause::not_supported("a", &json!("c"), ["a", "b"]),
            r#"a: Unsupported value: "c": supported values: "a", "b""#,
        ),
        (
            Cause::not_supported("a", &json!("c"), []),
            r#"a: Unsupported value: "c""#,
        ),
        (
            Cause::rule(CauseReason::FieldValueInvalid, "a", None, "no"),
            "a: Invalid value: no",
        ),
        (
            Cause::rule(CauseReason::FieldValueForbidden, "a", Some(&json!(1)), "no"),
            "a: Forbidden: no",
        ),
    ];
    for (cause, expected) in cases {
        assert_eq!(cause.to_string(), expected);
    }
}

#[test]
fn paths_print_as_clients_know_them() {
    let root = FieldPath::Root;
    let (spec, env) = (root.child("spec"), "env");
    let list = spec.child("ports");
    let map = spec.child(env);
    assert_eq!(root.to_string(), "<nil>");
    assert_eq!(spec.to_string(), "spec");
    assert_eq!(
        list.index(0).child("hostPort").to_string(),
        "spec.ports[0].hostPort"
    );
    assert_eq!(map.key("FOO").to_string(), "spec.env[FOO]");
}

#[test]
fn a_delete_that_removed_the_object_says_so() {
    assert_snapshot!(deleted("clos.dev", "services", "web", "u-1"), @r#"{"apiVersion":"v1","details":{"group":"clos.dev","kind":"services","name":"web","uid":"u-1"},"kind":"Status","metadata":{},"status":"Success"}"#);
    assert_eq!(
        deleted("", "secrets", "web", "u-1")["details"].get("group"),
        None
    );
}

proptest! {
    #[test]
    fn quoting_leaves_no_bare_quote_or_control_character(text in any::<String>()) {
        let quoted = quoted(&text);
        let inner = &quoted[1..quoted.len() - 1];
        prop_assert!(!inner.chars().any(char::is_control));
        prop_assert_eq!(inner.replace("\\\\", "").replace("\\\"", "").contains('"'), false);
    }
}
