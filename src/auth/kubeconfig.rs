//! The kubeconfig that hands a credential to kubectl and every other client. Where it is written
//! is the caller's choice.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::authority::ClientCredential;

/// A kubeconfig (YAML) with one cluster, one user and one context, the current one; all
/// certificates and the key stand in it, so the file works wherever it is copied. It holds a
/// secret: see [`write_private`](crate::write_private).
pub fn kubeconfig(
    cluster_name: &str,
    server_url: &str,
    ca_pem: &str,
    credential: &ClientCredential,
) -> String {
    let cluster = quoted(cluster_name);
    let user = quoted(&format!("{cluster_name}-{}", credential.user));
    let server = quoted(server_url);
    let authority = STANDARD.encode(ca_pem);
    let certificate = STANDARD.encode(&credential.certificate_pem);
    let key = STANDARD.encode(&credential.key_pem);
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: {cluster}
  cluster:
    server: {server}
    certificate-authority-data: {authority}
users:
- name: {user}
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
contexts:
- name: {cluster}
  context:
    cluster: {cluster}
    namespace: default
    user: {user}
current-context: {cluster}
"
    )
}

/// A JSON string, which every YAML parser reads as that string whatever it holds.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use kube::config::Kubeconfig;

    use super::kubeconfig;
    use crate::authority::ClientCredential;

    fn credential() -> ClientCredential {
        ClientCredential {
            user: "admin".to_owned(),
            certificate_pem: "CERTIFICATE".to_owned(),
            key_pem: "KEY".to_owned(),
        }
    }

    #[test]
    fn the_kubeconfig_reads_as_kubectl_writes_them() {
        let text = kubeconfig("clos", "https://127.0.0.1:8081", "AUTHORITY", &credential());
        insta::assert_snapshot!(text, @r#"
        apiVersion: v1
        kind: Config
        clusters:
        - name: "clos"
          cluster:
            server: "https://127.0.0.1:8081"
            certificate-authority-data: QVVUSE9SSVRZ
        users:
        - name: "clos-admin"
          user:
            client-certificate-data: Q0VSVElGSUNBVEU=
            client-key-data: S0VZ
        contexts:
        - name: "clos"
          context:
            cluster: "clos"
            namespace: default
            user: "clos-admin"
        current-context: "clos"
        "#);
    }

    #[test]
    fn names_with_yaml_in_them_stay_names() {
        let name = "a: \"b\"\n- #c\\";
        let text = kubeconfig(name, "https://[::1]:8081", "AUTHORITY", &credential());
        let parsed = Kubeconfig::from_yaml(&text).unwrap();
        assert_eq!(parsed.current_context.as_deref(), Some(name));
        assert_eq!(parsed.clusters[0].name, name);
        let cluster = parsed.clusters[0].cluster.as_ref().unwrap();
        assert_eq!(cluster.server.as_deref(), Some("https://[::1]:8081"));
        assert_eq!(
            cluster.certificate_authority_data.as_deref(),
            Some("QVVUSE9SSVRZ")
        );
        let context = parsed.contexts[0].context.as_ref().unwrap();
        assert_eq!(context.cluster, name);
        assert_eq!(context.user.as_deref(), Some(&*parsed.auth_infos[0].name));
    }
}
