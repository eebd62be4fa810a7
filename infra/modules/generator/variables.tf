# The caller validates its input: a variable is checked here only if the caller does not take it from that input.

variable "name" {
  type        = string
  description = "Name of the generator and of its container; with more than one shard, -000, -001 and so on follow."
}

variable "group_name" {
  type        = string
  description = "Name of the container group; with more than one group, -00, -01 and so on follow."

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,58}[a-z0-9])?$", var.group_name))
    error_message = "group_name must be at most 60 lower-case letters, digits and hyphens."
  }
}

variable "image" {
  type        = string
  description = "Image with its tag."
}

variable "location" {
  type        = string
  description = "Azure region."
}

variable "resource_group_name" {
  type        = string
  description = "Resource group of the container groups."
}

variable "restart_policy" {
  type        = string
  description = "`OnFailure` for a generator that ends by itself, `Always` for the stream."

  validation {
    condition     = contains(["OnFailure", "Always"], var.restart_policy)
    error_message = "restart_policy must be OnFailure or Always."
  }
}

variable "shards" {
  type        = number
  description = "Containers that share the work."
}

variable "shards_per_group" {
  type        = number
  description = "Containers per container group, at most."
}

variable "cpu" {
  type        = number
  description = "vCPUs per container."
}

variable "memory" {
  type        = number
  description = "GB of memory per container."
}

variable "identity_ids" {
  type        = list(string)
  description = "User-assigned managed identities of each group."
}

variable "environment" {
  type        = map(string)
  description = "Environment variables; those that are null are left out."

  validation {
    condition     = alltrue([for name, value in var.environment : value == null || value != ""])
    error_message = "environment: the generators treat an empty value as an error; use null to leave a variable out."
  }
}

variable "secure_environment" {
  type        = map(string)
  description = "Environment variables that Azure does not show; those that are null are left out."
  sensitive   = true
}

variable "tags" {
  type        = map(string)
  description = "Tags of each group."
}
