//! A fake of Azure's identity endpoints: the token request of the instance metadata service, and the same request in
//! the format of App Service (`IDENTITY_ENDPOINT`, `IDENTITY_HEADER`).
//!
//! <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::Response,
};
use tokio::net::TcpListener;
use url::form_urlencoded;

use crate::lock;

/// How the endpoint behaves.
#[derive(Debug, Clone)]
pub struct ManagedIdentity {
    /// The token that the endpoint issues.
    pub token: String,
    /// The client id that requests must contain; `None` for the system-assigned identity, which has none.
    pub client_id: Option<String>,
    /// How long a token is valid.
    pub lifetime: Duration,
    /// The required value of `X-IDENTITY-HEADER`.
    pub secret: String,
}

/// A running endpoint. It stops when it is dropped.
#[derive(Debug)]
pub struct FakeImds {
    address: SocketAddr,
    shared: Arc<ImdsState>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct ImdsState {
    identity: ManagedIdentity,
    failures: Mutex<VecDeque<u16>>,
    resources: Mutex<Vec<String>>,
}

impl FakeImds {
    /// Starts the endpoint on a free local port. The first requests are answered with the statuses `failures` in this
    /// order (such as 429, 500), all others with a token.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start(identity: ManagedIdentity, failures: &[u16]) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(ImdsState {
            identity,
            failures: Mutex::new(failures.iter().copied().collect()),
            resources: Mutex::default(),
        });
        let app = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                eprintln!("the identity endpoint stopped: {error}");
            }
        });
        Ok(Self {
            address,
            shared,
            task,
        })
    }

    /// Returns the value for `IDENTITY_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}/msi/token", self.address)
    }

    /// Returns the resources for which tokens were issued, one per token.
    pub fn resources(&self) -> Vec<String> {
        lock(&self.shared.resources).clone()
    }
}

impl Drop for FakeImds {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(shared): State<Arc<ImdsState>>, request: Request) -> Response<Body> {
    let query: Vec<(String, String)> =
        form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
    let find = |name: &str| {
        query
            .iter()
            .find(|pair| pair.0 == name)
            .map(|pair| pair.1.clone())
    };
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let json = |status: u16, body: serde_json::Value| {
        Response::builder()
            .status(status)
            .header("Content-Type", "application/json")
            .body(Body::from(body.to_string()))
            .expect("the headers are ASCII")
    };
    let refuse = |why: &str| {
        json(
            400,
            serde_json::json!({"error": "invalid_request", "error_description": why}),
        )
    };
    if header("metadata") != Some("true") {
        return refuse("Required metadata header not specified");
    }
    if header("x-identity-header") != Some(shared.identity.secret.as_str()) {
        return json(403, serde_json::json!({"error": "forbidden"}));
    }
    if find("api-version").is_none() {
        return refuse("api-version is missing");
    }
    let Some(resource) = find("resource") else {
        return refuse("resource is missing");
    };
    if let Some(status) = lock(&shared.failures).pop_front() {
        return json(status, serde_json::json!({"error": "temporarily_unavailable"}));
    }
    if find("client_id") != shared.identity.client_id {
        return refuse("Identity not found");
    }
    let end = SystemTime::now() + shared.identity.lifetime;
    let end = end.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    lock(&shared.resources).push(resource.clone());
    // Every number is a string, as in answers of the real endpoint.
    let token = serde_json::json!({"access_token": shared.identity.token, "expires_on": end.to_string(),
        "resource": resource, "token_type": "Bearer", "client_id": shared.identity.client_id});
    json(200, token)
}
