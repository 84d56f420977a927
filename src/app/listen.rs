//! Binding the API's port, and saying who holds it when it is taken.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

/// Why the API cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else listens there.
    #[error(
        "{address} is in use{}; stop that, or choose another address with --listen",
        by(holders)
    )]
    InUse {
        /// The address.
        address: SocketAddr,
        /// Who, as far as can be seen.
        holders: Vec<String>,
    },
    /// Anything else.
    #[error("cannot listen on {address}; choose another address with --listen")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

fn by(holders: &[String]) -> String {
    if holders.is_empty() {
        String::new()
    } else {
        format!(" by {}", holders.join(", "))
    }
}

/// Binds the address. `holders` finds out who listens on a port.
pub(crate) async fn bind(
    address: SocketAddr,
    holders: impl AsyncFnOnce(u16) -> Vec<String>,
) -> Result<TcpListener, ListenError> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(ListenError::InUse {
            address,
            holders: holders(address.port()).await,
        }),
        Err(source) => Err(ListenError::Bind { address, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_refused_with_its_holder() {
        let first = bind("127.0.0.1:0".parse().unwrap(), async |_| Vec::new())
            .await
            .unwrap();
        let address = first.local_addr().unwrap();
        let error = bind(address, async |port| {
            vec![format!("process nginx (pid 7) on {port}")]
        })
        .await
        .unwrap_err();
        let port = address.port();
        assert_eq!(
            error.to_string(),
            format!(
                "127.0.0.1:{port} is in use by process nginx (pid 7) on {port}; stop that, or choose another address with --listen"
            )
        );
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused_with_what_to_do() {
        // Of the range that is for documentation only.
        let address: SocketAddr = "192.0.2.1:8081".parse().unwrap();
        let error = bind(address, async |_| vec!["nobody is asked".to_owned()])
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot listen on 192.0.2.1:8081; choose another address with --listen"
        );
    }

    #[tokio::test]
    async fn a_holder_that_cannot_be_seen_is_not_made_up() {
        let first = bind("127.0.0.1:0".parse().unwrap(), async |_| Vec::new())
            .await
            .unwrap();
        let address = first.local_addr().unwrap();
        let error = bind(address, async |_| Vec::new()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{address} is in use; stop that, or choose another address with --listen")
        );
    }
}
