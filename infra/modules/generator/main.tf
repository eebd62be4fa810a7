# One generator as container groups of Azure Container Instances: a group a shard, each without an
# address, so that nothing can reach it.

terraform {
  required_version = ">= 1.9"

  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 4.55"
    }
  }
}

locals {
  # Only what is given: the generators take an empty value for an error.
  environment        = { for name, value in var.environment : name => value if value != null }
  secure_environment = { for name, value in var.secure_environment : name => value if value != null }

  # One group alone is shard 0 of 1, which is the default; more are numbered.
  groups = {
    for index in range(var.shards) :
    (var.shards == 1 ? var.name : format("%s-%02d", var.name, index)) => var.shards == 1 ? {} : {
      SHARD_INDEX = tostring(index)
      SHARD_COUNT = tostring(var.shards)
    }
  }
}

resource "azurerm_container_group" "generator" {
  #checkov:skip=CKV_AZURE_98:Without an address (ip_address_type None) nothing can reach it; a virtual network would only cost
  #checkov:skip=CKV_AZURE_235:Settings stay readable; secrets are in secure_environment_variables

  for_each = local.groups

  name                = each.key
  location            = var.location
  resource_group_name = var.resource_group_name
  os_type             = "Linux"
  ip_address_type     = "None"
  restart_policy      = var.restart_policy

  container {
    name   = var.name
    image  = var.image
    cpu    = var.cpu
    memory = var.memory

    environment_variables        = merge(local.environment, each.value)
    secure_environment_variables = local.secure_environment
  }

  dynamic "identity" {
    for_each = length(var.identity_ids) > 0 ? [var.identity_ids] : []

    content {
      type         = "UserAssigned"
      identity_ids = identity.value
    }
  }

  tags = var.tags
}
