terraform {
  # Validations that refer to other objects need 1.9.
  required_version = ">= 1.9"

  # `terraform init` writes .terraform.lock.hcl, which pins exact versions and checksums. It is not in
  # the repository, because it can only be written where the provider registry is reachable. If you
  # deploy for others, commit yours, written for all platforms:
  #   terraform providers lock -platform=linux_amd64 -platform=darwin_arm64 -platform=windows_amd64
  required_providers {
    azurerm = {
      source = "hashicorp/azurerm"
      # From 4.71 on, a SQL server that accepts Entra ID only can be updated. The configuration uses
      # nothing that version 5 removes.
      version = ">= 4.71, < 6"
    }
    http = {
      source  = "hashicorp/http"
      version = "~> 3.5"
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

provider "azurerm" {
  # If this is null, the provider uses ARM_SUBSCRIPTION_ID, then the Azure CLI's current subscription.
  subscription_id = var.subscription_id

  # Register only what is used here.
  resource_provider_registrations = "none"
  resource_providers_to_register = [
    "Microsoft.ContainerInstance",
    "Microsoft.EventHub",
    "Microsoft.ManagedIdentity",
    "Microsoft.Sql",
    "Microsoft.Storage",
  ]

  # Terraform only calls Azure Resource Manager, never the storage account itself: deploying needs no
  # rights on the data, and the account may refuse shared keys.
  storage_use_azuread = true

  features {
    storage {
      data_plane_available = false
    }
    resource_group {
      # `terraform destroy` also deletes what was added to the group by hand. A group that existed
      # before (var.resource_group_name) is never deleted.
      prevent_deletion_if_contains_resources = false
    }
  }
}
