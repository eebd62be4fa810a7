//! The check whether the machine's metadata service can sign the process in.
//!
//! On other machines, something may respond at the service's address as well: Docker Desktop and dev containers respond
//! with 403, and the metadata services of other clouds with 401, 403 or 404. Only the HTTP response decides.

use std::{net::SocketAddr, time::Duration};

use crate::http::{has_token, new_client};

/// The address of the instance metadata service on every machine and container group of Azure.
/// <https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service>
pub(super) const ADDRESS: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 169, 254)),
    80,
);

/// How long the service may take to respond. It is on the same host.
const LIMIT: Duration = Duration::from_secs(2);

/// Returns whether the service at `address` issues tokens to this process, or is Azure's but too busy to decide that.
///
/// The request is for a token for Azure Resource Manager, since every other request succeeds without an identity, too.
pub(super) async fn has_identity(address: SocketAddr) -> bool {
    let url = format!(
        "http://{address}/metadata/identity/oauth2/token?api-version=2019-08-01&resource=https%3A%2F%2Fmanagement.azure.com"
    );
    let exchange = async {
        let response = new_client(false)
            .get(url)
            .header("Metadata", "true")
            .send()
            .await?;
        let status = response.status().as_u16();
        // `IMDS/150.870.65.1324`
        let server = response.headers().get("server");
        let is_azure = server.is_some_and(|server| server.as_bytes().starts_with(b"IMDS/"));
        let body = crate::http::read_body(response.bytes_stream()).await?;
        Ok::<_, reqwest::Error>((status, is_azure, body.bytes))
    };
    match tokio::time::timeout(LIMIT, exchange).await {
        Ok(Ok((200, _, body))) => has_token(&body),
        // https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token#error-handling
        Ok(Ok((410 | 429 | 500..=599, is_azure, _))) => is_azure,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use testkit::stub::{Answer, Stub};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const FREE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    #[tokio::test]
    async fn only_a_metadata_service_of_azure_is_one() {
        let token = r#"{"access_token":"t","expires_on":"9"}"#;
        let not_found = r#"{"error":"invalid_request","error_description":"Identity not found"}"#;
        for (status, server, body, expected) in [
            (200, None, token, true),
            (200, None, "<html>sign in</html>", false),
            (200, None, r#"{"access_token":7}"#, false),
            // Docker Desktop.
            (
                403,
                None,
                "connecting to 169.254.169.254:80: dial tcp: unreachable network",
                false,
            ),
            // Other clouds.
            (401, Some("EC2ws"), "", false),
            (
                403,
                Some("Metadata Server for VM"),
                "<html>Missing header</html>",
                false,
            ),
            (404, None, "not found", false),
            // An Azure machine without an identity.
            (400, Some("IMDS/150.870.65.1324"), not_found, false),
            (429, Some("IMDS/150.870.65.1324"), "", true),
            (500, Some("IMDS/150.870.65.1324"), "", true),
            (502, None, "bad gateway", false),
        ] {
            let stub = Stub::start(FREE, move |request| {
                assert!(
                    request.uri.contains("/metadata/identity/oauth2/token?"),
                    "{}",
                    request.uri
                );
                Answer {
                    headers: server
                        .map(|server| ("server", server.to_owned()))
                        .into_iter()
                        .collect(),
                    body: body.to_owned(),
                    ..Answer::of(status)
                }
            });
            let stub = stub.await.unwrap();
            assert_eq!(has_identity(stub.address()).await, expected, "{status} {body}");
        }
    }

    #[tokio::test]
    async fn silence_and_garbage_are_no_metadata_service() {
        for response in [None, Some(&b"\x16\x03\x01 no HTTP at all\r\n\r\n"[..])] {
            let listener = TcpListener::bind(FREE).await.unwrap();
            let address = listener.local_addr().unwrap();
            let server = tokio::spawn(async move {
                loop {
                    let (mut connection, _) = listener.accept().await.unwrap();
                    let _ = connection.read(&mut [0; 1024]).await;
                    match response {
                        Some(bytes) => connection.write_all(bytes).await.unwrap(),
                        None => std::future::pending().await,
                    }
                }
            });
            assert!(!has_identity(address).await);
            server.abort();
        }
        let closed = TcpListener::bind(FREE).await.unwrap().local_addr().unwrap();
        assert!(!has_identity(closed).await);
    }
}
