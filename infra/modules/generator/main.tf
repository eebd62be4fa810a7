# One generator as container groups of Azure Container Instances: one container per shard, several of them
# in a group. The groups have no address, so they cannot be reached.

terraform {
  required_version = ">= 1.9"

  required_providers {
    azurerm = {
      source = "hashicorp/azurerm"
    }
  }
}

locals {
  # The generators treat an empty value as an error, so only variables with a value are passed on.
  environment        = { for name, value in var.environment : name => value if value != null }
  secure_environment = { for name, value in var.secure_environment : name => value if value != null }

  # A single container is shard 0 of 1, which is the generators' default; several are numbered.
  containers = var.shards == 1 ? { (var.name) = {} } : {
    for index in range(var.shards) : format("%s-%03d", var.name, index) => {
      SHARD_INDEX = tostring(index)
      SHARD_COUNT = tostring(var.shards)
    }
  }

  groups = {
    for number, containers in chunklist(sort(keys(local.containers)), var.shards_per_group) :
    format("%02d", number) => containers
  }
}

resource "azurerm_container_group" "generator" {
  #checkov:skip=CKV_AZURE_98:Without an address (ip_address_type None) nothing can reach it; a virtual network would only add cost
  #checkov:skip=CKV_AZURE_235:Settings stay readable; secrets are in secure_environment_variables

  for_each = local.groups

  name                = length(local.groups) == 1 ? var.group_name : "${var.group_name}-${each.key}"
  location            = var.location
  resource_group_name = var.resource_group_name
  os_type             = "Linux"
  ip_address_type     = "None"
  restart_policy      = var.restart_policy

  dynamic "container" {
    for_each = each.value

    content {
      name   = container.value
      image  = var.image
      cpu    = var.cpu
      memory = var.memory

      environment_variables        = merge(local.environment, local.containers[container.value])
      secure_environment_variables = local.secure_environment
    }
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
