//! How a process signs in, according to its environment. `docs/sign-in.md` has the order.

use std::{env, ffi::OsStr, fmt, net::SocketAddr};

use datagen_settings::{ConfigurationErrors, Environment, Secret, TextLine, catalog::EntraSettings};

use super::metadata;

/// How a process signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// An application with a secret.
    ServicePrincipal {
        /// The tenant of the application.
        tenant_id: String,
        /// The application.
        client_id: String,
        /// Its secret.
        secret: Secret,
    },
    /// A token file that Kubernetes keeps fresh, exchanged for an access token.
    WorkloadIdentity {
        /// The tenant of the identity.
        tenant_id: String,
        /// The identity.
        client_id: String,
        /// The path of the token file.
        token_file: String,
    },
    /// The identity assigned to this container or machine.
    ManagedIdentity {
        /// The client id of a user-assigned identity; `None` for the system-assigned one.
        client_id: Option<String>,
    },
    /// The account that is signed in to `az` or `azd`.
    DeveloperTools,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServicePrincipal { client_id, .. } if is_client_id(client_id) => {
                write!(f, "the service principal {client_id} (AZURE_CLIENT_ID)")
            }
            Self::ServicePrincipal { .. } => {
                f.write_str("a service principal whose AZURE_CLIENT_ID is not a client id")
            }
            Self::WorkloadIdentity { .. } => f.write_str("workload identity"),
            Self::ManagedIdentity { client_id: None } => f.write_str("the system-assigned managed identity"),
            Self::ManagedIdentity { client_id: Some(id) } if is_client_id(id) => {
                write!(f, "the user-assigned managed identity {id} (AZURE_CLIENT_ID)")
            }
            Self::ManagedIdentity { client_id: Some(_) } => {
                f.write_str("a user-assigned managed identity whose AZURE_CLIENT_ID is not a client id")
            }
            Self::DeveloperTools => f.write_str("the account that is signed in to az or azd"),
        }
    }
}

/// Returns whether `text` is a client id, which is a GUID. Any other text is not printed, because it may be a secret in
/// the wrong variable.
fn is_client_id(text: &str) -> bool {
    text.len() == 36
        && text.char_indices().all(|(place, c)| match place {
            8 | 13 | 18 | 23 => c == '-',
            _ => c.is_ascii_hexdigit(),
        })
}

impl Method {
    /// Returns what to check if the sign-in fails.
    pub(super) fn advice(&self) -> &'static str {
        match self {
            Self::ServicePrincipal { .. } => {
                "check AZURE_TENANT_ID and AZURE_CLIENT_ID, and that AZURE_CLIENT_SECRET is the secret's value and has \
                 not expired"
            }
            Self::WorkloadIdentity { .. } => {
                "check AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_FEDERATED_TOKEN_FILE and the federated credential"
            }
            Self::ManagedIdentity { client_id: None } => {
                "check that a managed identity is assigned to this container or machine, set AZURE_CLIENT_ID if it \
                 is a user-assigned one, or sign in with az login on a laptop"
            }
            Self::ManagedIdentity { client_id: Some(_) } => {
                "check AZURE_CLIENT_ID and that this identity is assigned to this container or machine; for a service \
                 principal, set AZURE_TENANT_ID and AZURE_CLIENT_SECRET as well"
            }
            Self::DeveloperTools => "run az login or azd auth login",
        }
    }
}

/// Reads the variables that name a credential. `None` if there are none, or if something is wrong with them, which is
/// then reported.
pub(super) fn read(environment: &Environment, problems: &mut ConfigurationErrors) -> Option<Method> {
    let known = problems.len();
    let settings: EntraSettings = environment.read(problems);
    if problems.len() > known {
        return None;
    }
    let missing =
        |problems: &mut ConfigurationErrors, given: &str, needed: &[(&datagen_settings::Variable, bool)]| {
            for (variable, is_set) in needed {
                if !is_set {
                    problems.report(
                        variable,
                        format_args!("is not set: it belongs to {given}, so set it, or unset {given}"),
                    );
                }
            }
        };
    let text = |text: Option<TextLine>| text.map(|text| text.0);
    let tenant = text(settings.azure_tenant_id);
    let client = text(settings.azure_client_id);
    let needed = [
        (&EntraSettings::AZURE_TENANT_ID, tenant.is_some()),
        (&EntraSettings::AZURE_CLIENT_ID, client.is_some()),
    ];
    if let Some(secret) = settings.azure_client_secret {
        missing(problems, "AZURE_CLIENT_SECRET", &needed);
        return Some(Method::ServicePrincipal {
            tenant_id: tenant?,
            client_id: client?,
            secret,
        });
    }
    if let Some(token_file) = text(settings.azure_federated_token_file) {
        missing(problems, "AZURE_FEDERATED_TOKEN_FILE", &needed);
        return Some(Method::WorkloadIdentity {
            tenant_id: tenant?,
            client_id: client?,
            token_file,
        });
    }
    let is_hosted = ["IDENTITY_ENDPOINT", "MSI_ENDPOINT"]
        .iter()
        .any(|endpoint| environment.names().any(|name| name == *endpoint));
    if tenant.is_some() && client.is_some() && !is_hosted {
        problems.report(
            &EntraSettings::AZURE_CLIENT_SECRET,
            "is not set, but AZURE_TENANT_ID and AZURE_CLIENT_ID are: set it to sign in as a service principal \
             (certificates are not supported), or AZURE_FEDERATED_TOKEN_FILE for workload identity, or unset \
             AZURE_TENANT_ID for a managed identity",
        );
        return None;
    }
    (client.is_some() || is_hosted).then_some(Method::ManagedIdentity { client_id: client })
}

/// Chooses the method if no variable does.
pub(super) async fn of_this_machine(path: Option<&OsStr>, metadata_service: SocketAddr) -> Method {
    let installed = |tool: &str| {
        path.into_iter()
            .flat_map(|path| env::split_paths(path).collect::<Vec<_>>())
            .any(|directory| directory.join(tool).is_file())
    };
    // Where neither tool is installed, as in a container, the metadata service may still be starting.
    let has_tools = installed("az") || installed("azd");
    if has_tools && !metadata::has_identity(metadata_service).await {
        Method::DeveloperTools
    } else {
        Method::ManagedIdentity { client_id: None }
    }
}

#[cfg(test)]
mod tests {
    use testkit::stub::{Answer, Stub};

    use super::*;

    const TENANT: (&str, &str) = ("AZURE_TENANT_ID", "a-tenant");
    const CLIENT: (&str, &str) = ("AZURE_CLIENT_ID", "a-client");
    const SECRET: (&str, &str) = ("AZURE_CLIENT_SECRET", "PLANTED");
    const TOKEN_FILE: (&str, &str) = ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/token");
    const ENDPOINT: (&str, &str) = ("IDENTITY_ENDPOINT", "http://127.0.0.1:1/token");

    fn chosen(pairs: &[(&str, &str)]) -> (Option<Method>, String) {
        let mut problems = ConfigurationErrors::default();
        let method = read(&pairs.iter().copied().collect(), &mut problems);
        (method, problems.to_string())
    }

    #[test]
    fn variables_name_the_credential() {
        let tenant_id = "a-tenant".to_owned();
        let client_id = "a-client".to_owned();
        let user_assigned = Method::ManagedIdentity {
            client_id: Some(client_id.clone()),
        };
        let service_principal = Method::ServicePrincipal {
            tenant_id: tenant_id.clone(),
            client_id: client_id.clone(),
            secret: Secret::new("PLANTED"),
        };
        let workload = Method::WorkloadIdentity {
            tenant_id,
            client_id,
            token_file: "/var/run/token".to_owned(),
        };
        for (pairs, expected) in [
            (&[TENANT, CLIENT, SECRET][..], Some(service_principal)),
            (&[TENANT, CLIENT, TOKEN_FILE], Some(workload)),
            (&[CLIENT], Some(user_assigned.clone())),
            (&[TENANT, CLIENT, ENDPOINT], Some(user_assigned)),
            (&[ENDPOINT], Some(Method::ManagedIdentity { client_id: None })),
            // Used by az, too.
            (&[TENANT], None),
            (&[], None),
        ] {
            assert_eq!(chosen(pairs), (expected, String::new()), "{pairs:?}");
        }
    }

    #[test]
    fn an_incomplete_credential_is_reported_with_the_missing_variable() {
        for (pairs, variables) in [
            (&[CLIENT, SECRET][..], &["AZURE_TENANT_ID"][..]),
            (&[TENANT, SECRET], &["AZURE_CLIENT_ID"]),
            (&[SECRET], &["AZURE_TENANT_ID", "AZURE_CLIENT_ID"]),
            (&[CLIENT, TOKEN_FILE], &["AZURE_TENANT_ID"]),
            (&[TENANT, CLIENT], &["AZURE_CLIENT_SECRET"]),
        ] {
            let (method, problems) = chosen(pairs);
            assert_eq!(method, None, "{pairs:?}");
            let names: Vec<_> = problems
                .lines()
                .filter_map(|line| line.split(' ').next())
                .collect();
            assert_eq!(names, variables, "{problems}");
            assert!(!problems.contains("PLANTED"), "{problems}");
        }
    }

    #[test]
    fn neither_secrets_nor_what_may_be_one_are_printed() {
        let id = "00000000-1111-2222-3333-aaaaBBBBcccc";
        let misplaced = "PLANTED~secret.of.an.application-000";
        for (client_id, is_shown) in [(id, true), (misplaced, false)] {
            let managed = Method::ManagedIdentity {
                client_id: Some(client_id.to_owned()),
            };
            let principal = Method::ServicePrincipal {
                tenant_id: "t".to_owned(),
                client_id: client_id.to_owned(),
                secret: Secret::new("PLANTED"),
            };
            for method in [managed, principal] {
                let shown = method.to_string();
                assert!(shown.contains("AZURE_CLIENT_ID"), "{shown}");
                assert_eq!(shown.contains(client_id), is_shown, "{shown}");
            }
        }
        let secret = Method::ServicePrincipal {
            tenant_id: "t".to_owned(),
            client_id: id.to_owned(),
            secret: Secret::new("PLANTED"),
        };
        assert!(!format!("{secret} {secret:?}").contains("PLANTED"));
    }

    #[tokio::test]
    async fn what_is_no_metadata_service_leads_to_az() {
        let free: SocketAddr = ([127, 0, 0, 1], 0).into();
        let tools = tempfile::tempdir().unwrap();
        let path = Some(tools.path().as_os_str());
        let refusing = Stub::start(free, |_| Answer::of(403)).await.unwrap();
        let issuing = Stub::start(free, |_| Answer {
            body: r#"{"access_token":"t"}"#.to_owned(),
            ..Answer::of(200)
        });
        let issuing = issuing.await.unwrap();
        let system_assigned = Method::ManagedIdentity { client_id: None };
        assert_eq!(of_this_machine(path, refusing.address()).await, system_assigned);
        assert_eq!(of_this_machine(None, refusing.address()).await, system_assigned);
        std::fs::write(tools.path().join("az"), "").unwrap();
        assert_eq!(
            of_this_machine(path, refusing.address()).await,
            Method::DeveloperTools
        );
        assert_eq!(of_this_machine(path, issuing.address()).await, system_assigned);
    }
}
