terraform {
  required_version = ">= 1.9"

  # Versions are pinned by these constraints. `terraform init` writes .terraform.lock.hcl, which also
  # pins checksums; it is not in the repository because it can be made only where the provider
  # registry is reached. Whoever deploys this for others should commit theirs, made for all platforms:
  #   terraform providers lock -platform=linux_amd64 -platform=darwin_arm64 -platform=windows_amd64
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 4.55"
    }
    external = {
      source  = "hashicorp/external"
      version = "~> 2.3"
    }
    random = {
      source  = "hashicorp/random"
      version = "~> 3.7"
    }
    time = {
      source  = "hashicorp/time"
      version = "~> 0.13"
    }
  }
}

# The provider insists on a subscription from version 4 on. Who does not name one gets the one that
# `az login` chose.
data "external" "azure_cli" {
  count   = var.subscription_id == null ? 1 : 0
  program = ["az", "account", "show", "--query", "{id: id}", "--output", "json"]
}

provider "azurerm" {
  subscription_id = var.subscription_id != null ? var.subscription_id : data.external.azure_cli[0].result.id

  # Register just what is used here, instead of some sixty resource providers.
  resource_provider_registrations = "none"
  resource_providers_to_register = [
    "Microsoft.ContainerInstance",
    "Microsoft.EventHub",
    "Microsoft.ManagedIdentity",
    "Microsoft.Sql",
    "Microsoft.Storage",
  ]

  # No call to the storage account itself, only to Azure Resource Manager: the deployer needs no
  # rights on the data, and the account may refuse shared keys.
  storage_use_azuread = true

  features {
    storage {
      data_plane_available = false
    }
    resource_group {
      # The group is ours: `terraform destroy` leaves nothing.
      prevent_deletion_if_contains_resources = false
    }
  }
}
