# What the configuration makes of its variables. The providers are mocked: nothing is created, and their
# answers are the made-up values below. containers.py then tries the containers of
# these runs on the generators themselves.

mock_provider "azurerm" {
  mock_data "azurerm_client_config" {
    defaults = {
      # The Azure CLI: a person deploys.
      client_id       = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
      object_id       = "0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a01"
      subscription_id = "0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a02"
      tenant_id       = "0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a03"
    }
  }
  mock_data "azurerm_storage_account_blob_container_sas" {
    defaults = {
      sas = "?sv=2018-11-09&sr=c&st=2025-12-31T23%3A45%3A00Z&se=2099-12-31T00%3A00%3A00Z&sp=racwdlm&spr=https&sig=c2VjcmV0"
    }
  }
  mock_resource "azurerm_user_assigned_identity" {
    defaults = {
      id           = "/subscriptions/0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a02/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/generators"
      client_id    = "0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a04"
      principal_id = "0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a05"
    }
  }
  mock_resource "azurerm_storage_account" {
    defaults = {
      id                        = "/subscriptions/0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a02/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/lake"
      primary_blob_endpoint     = "https://dataplayground7x.blob.core.windows.net/"
      primary_dfs_endpoint      = "https://dataplayground7x.dfs.core.windows.net/"
      primary_connection_string = "DefaultEndpointsProtocol=https;AccountName=dataplayground7x;AccountKey=c2VjcmV0;EndpointSuffix=core.windows.net"
    }
  }
  mock_resource "azurerm_storage_container" {
    defaults = {
      id = "/subscriptions/0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a02/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/lake/blobServices/default/containers/bronze"
    }
  }
  mock_resource "azurerm_eventhub_namespace" {
    defaults = {
      id = "/subscriptions/0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a02/resourceGroups/rg/providers/Microsoft.EventHub/namespaces/dataplayground7x"
    }
  }
  mock_resource "azurerm_eventhub" {
    defaults = {
      id = "/subscriptions/0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a02/resourceGroups/rg/providers/Microsoft.EventHub/namespaces/dataplayground7x/eventhubs/hub"
    }
  }
  mock_resource "azurerm_mssql_server" {
    defaults = {
      id                          = "/subscriptions/0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a02/resourceGroups/rg/providers/Microsoft.Sql/servers/dataplayground7x"
      fully_qualified_domain_name = "dataplayground7x.database.windows.net"
    }
  }
}

override_resource {
  target = azurerm_eventhub_authorization_rule.send["pageviews"]
  values = {
    primary_connection_string = "Endpoint=sb://dataplayground7x.servicebus.windows.net/;SharedAccessKeyName=stream-pageviews;SharedAccessKey=c2VjcmV0;EntityPath=pageviews"
  }
}

override_resource {
  target = azurerm_eventhub_authorization_rule.send["stars"]
  values = {
    primary_connection_string = "Endpoint=sb://dataplayground7x.servicebus.windows.net/;SharedAccessKeyName=stream-pageviews;SharedAccessKey=c2VjcmV0;EntityPath=stars"
  }
}

mock_provider "http" {
  mock_data "http" {
    defaults = {
      response_body = "{\"token\": \"anonymous\"}"
      status_code   = 200
    }
  }
}

mock_provider "random" {
  mock_resource "random_string" {
    defaults = {
      result = "7x"
    }
  }
  mock_resource "random_password" {
    defaults = {
      result = "c2VjcmV0-aA1"
    }
  }
}

mock_provider "time" {
  mock_resource "time_static" {
    defaults = {
      rfc3339 = "2026-01-01T00:00:00Z"
    }
  }
}

# Everything by default.
run "identity" {
  assert {
    condition     = sort(output.container_groups) == tolist(["dataplayground7x-gen-orders", "dataplayground7x-gen-products", "dataplayground7x-gen-users", "dataplayground7x-stream-pageviews"])
    error_message = "There should be one container group per generator, not ${join(", ", output.container_groups)}."
  }

  assert {
    condition     = azurerm_storage_account.lake.shared_access_key_enabled == false && azurerm_eventhub_namespace.playground.local_authentication_enabled == false && azurerm_mssql_server.playground.azuread_administrator[0].azuread_authentication_only == true
    error_message = "Keys and passwords must be refused."
  }

  assert {
    condition     = azurerm_mssql_server.playground.azuread_administrator[0].object_id == azurerm_user_assigned_identity.generators[0].principal_id
    error_message = "The generators' identity should administer the SQL server by its principal id."
  }

  assert {
    condition     = azurerm_role_assignment.eventhubs[0].scope == azurerm_eventhub_namespace.playground.id
    error_message = "The right to send should be on the namespace."
  }

  assert {
    condition = (
      { for name, role in azurerm_role_assignment.lake_reader : name => role.principal_id } == { deployer = data.azurerm_client_config.current.object_id } &&
      { for name, role in azurerm_role_assignment.eventhubs_reader : name => role.principal_id } == { deployer = data.azurerm_client_config.current.object_id }
    )
    error_message = "The deployer should be able to read files and events."
  }

  assert {
    condition     = local.sql_readers == "user:0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a01:deployer"
    error_message = "The deployer should be able to read the orders, not ${coalesce(local.sql_readers, "no one")}."
  }

  assert {
    condition     = local.stream_memory == 0.5
    error_message = "One source should fit into the default memory."
  }

  assert {
    condition     = local.environment["gen-orders"].DATE_TO == "2026-01-01"
    error_message = "There should be orders until the day of the first apply."
  }

  assert {
    condition     = output.sql_password == null && length(data.azurerm_storage_account_blob_container_sas.bronze) == 0
    error_message = "There should be no secrets."
  }

  assert {
    condition     = data.http.image["gen-users"].request_headers.Authorization == "Bearer anonymous"
    error_message = "The images should be looked up with the anonymous token."
  }

  assert {
    condition     = contains(split("\n", output.kubernetes_settings), "LAKE_URL=https://dataplayground7x.blob.core.windows.net/bronze/")
    error_message = "The settings for Kubernetes lack the lake."
  }
}

run "keys" {
  variables {
    sign_in     = "keys"
    users_count = 5000
    lake_api    = "dfs"
    readers     = { someone = { object_id = "0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a06" } }
  }

  assert {
    condition     = length(azurerm_user_assigned_identity.generators) == 0 && length(azurerm_role_assignment.lake_reader) == 0 && length(azurerm_role_assignment.eventhubs) == 0
    error_message = "No rights should be assigned: a Contributor may not do that."
  }

  assert {
    condition     = local.storage_sas == "https://dataplayground7x.dfs.core.windows.net/bronze/?sv=2018-11-09&sr=c&st=2025-12-31T23%3A45%3A00Z&se=2099-12-31T00%3A00%3A00Z&sp=racwdlm&spr=https&sig=c2VjcmV0"
    error_message = "The SAS should be that of the container, for the Data Lake API."
  }

  assert {
    condition     = data.azurerm_storage_account_blob_container_sas.bronze[0].permissions[0].move
    error_message = "The Data Lake API needs the permission to move."
  }

  assert {
    condition     = endswith(nonsensitive(local.secure_environment["stream-pageviews"].EVENTHUB_CONNECTION_STRING_STARS), "EntityPath=stars")
    error_message = "The stream should have a connection string per hub."
  }

  assert {
    condition     = local.environment["gen-users"].VIP_COUNT == 5000
    error_message = "There cannot be more VIP users than users."
  }

  assert {
    condition     = output.kubernetes_settings == null
    error_message = "Without an identity there are no settings for Kubernetes."
  }
}

run "shards_and_options" {
  variables {
    resource_group_name  = "shared"
    image_owner          = "someone"
    users_shards         = 10
    products_shards      = 0
    orders_shards        = 3
    stream_shards        = 2
    shards_per_group     = 8
    cpu                  = 0.5
    seed                 = "18446744073709551615"
    orders_rate          = 1000
    order_dates          = { from = "2020-01-01", to = "2021-01-01" }
    session_pause        = { mean = 0.5, stddev = 0 }
    concurrent_users     = 20
    log_format           = "json"
    log_filter           = "info,gen_users=debug"
    lake_api             = "dfs"
    sql_administrator_id = "client"
    kubernetes_issuer    = "https://oidc.example.com/"
    settings             = { stream-pageviews = { METRICS_ADDR = "127.0.0.1:9464" } }
    # null asks for the default.
    vip_count = null
    readers = {
      "me@example.com" = { object_id = "0BD6A2F7-5d9c-4b6b-9c0f-0d3b7c1f2a01" }
      "Data team"      = { object_id = "0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a07", kind = "group" }
      notebooks        = { object_id = "0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a08", kind = "application", client_id = "0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a09" }
    }
  }

  # 10 sources per container, and half a second between the sessions of each.
  assert {
    condition     = abs(local.open_sessions - 4270) < 1
    error_message = "There should be 4270 open sessions per container, not ${local.open_sessions}."
  }

  assert {
    condition = sort(output.container_groups) == tolist([
      "dataplayground7x-gen-orders",
      "dataplayground7x-gen-users-00",
      "dataplayground7x-gen-users-01",
      "dataplayground7x-stream-pageviews",
    ])
    error_message = "Ten shards should be in two groups, three in one: ${join(", ", output.container_groups)}."
  }

  assert {
    condition     = length(azurerm_resource_group.playground) == 0 && azurerm_storage_account.lake.resource_group_name == "shared"
    error_message = "The existing resource group should be used."
  }

  assert {
    condition     = azurerm_mssql_server.playground.azuread_administrator[0].object_id == azurerm_user_assigned_identity.generators[0].client_id
    error_message = "The generators' identity should administer the SQL server by its client id."
  }

  assert {
    condition     = local.sql_readers == "group:0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a07:Data team;user:0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a01:me@example.com;application:0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a09:notebooks"
    error_message = "The readers of the orders should be the three, applications by their client id: ${local.sql_readers}."
  }

  assert {
    condition     = azurerm_role_assignment.lake_reader["notebooks"].principal_id == "0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a08" && azurerm_role_assignment.lake_reader["Data team"].principal_type == "Group"
    error_message = "Roles should be assigned to object ids, by kind."
  }

  assert {
    condition     = azurerm_federated_identity_credential.kubernetes[0].subject == "system:serviceaccount:dataplayground:generators"
    error_message = "The service account should be allowed to sign in."
  }
}

# An application deploys, e.g. a pipeline.
run "deployed_by_an_application" {
  override_data {
    target = data.azurerm_client_config.current
    values = {
      client_id       = "0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a0a"
      object_id       = "0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a0b"
      subscription_id = "0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a02"
      tenant_id       = "0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a03"
    }
  }

  assert {
    condition     = local.sql_readers == "application:0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a0a:deployer" && azurerm_role_assignment.lake_reader["deployer"].principal_id == "0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a0b"
    error_message = "An application reads the orders by its client id, files by its object id."
  }
}

run "no_readers_and_no_containers" {
  variables {
    deployer_reads  = false
    users_shards    = 0
    products_shards = 0
    orders_shards   = 0
    stream_shards   = 0
  }

  assert {
    condition     = local.sql_readers == null && length(azurerm_role_assignment.lake_reader) == 0 && length(output.container_groups) == 0 && length(data.http.image) == 0
    error_message = "There should be no readers, no containers and no images to check."
  }
}

run "images_that_are_not_public" {
  command = plan

  override_data {
    target = data.http.image
    values = {
      response_body = "{\"errors\": []}"
      status_code   = 401
    }
  }

  expect_failures = [data.http.image]
}

run "images_that_are_not_checked" {
  command = plan

  variables {
    check_images = false
  }

  override_data {
    target = data.http.image
    values = {
      status_code = 401
    }
  }
}
