variable "name" {
  type        = string
  description = "Name of the generator and of its container group; with more than one shard, -00, -01 and so on follow."

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,57}[a-z0-9])?$", var.name))
    error_message = "name must be lower-case letters, digits and hyphens."
  }
}

variable "image" {
  type        = string
  description = "Image with its tag."

  validation {
    condition     = can(regex("^[^/:]+(/[^/:]+)+(:[^/:]+|@sha256:[0-9a-f]{64})$", var.image))
    error_message = "image must be REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST."
  }
}

variable "location" {
  type        = string
  description = "Azure region."

  validation {
    condition     = var.location != ""
    error_message = "location must not be empty."
  }
}

variable "resource_group_name" {
  type        = string
  description = "Resource group."

  validation {
    condition     = var.resource_group_name != ""
    error_message = "resource_group_name must not be empty."
  }
}

variable "restart_policy" {
  type        = string
  default     = "OnFailure"
  description = "`OnFailure` for a generator that ends by itself, `Always` for the stream."

  validation {
    condition     = contains(["OnFailure", "Always", "Never"], var.restart_policy)
    error_message = "restart_policy must be OnFailure, Always or Never."
  }
}

variable "shards" {
  type        = number
  default     = 1
  description = "Container groups that share the work; 0 makes none."

  validation {
    condition     = var.shards >= 0 && var.shards <= 99 && floor(var.shards) == var.shards
    error_message = "shards must be a whole number, 0 to 99."
  }
}

variable "cpu" {
  type        = number
  default     = 1
  description = "vCPUs of each group."

  validation {
    condition     = var.cpu > 0
    error_message = "cpu must be positive."
  }
}

variable "memory" {
  type        = number
  default     = 0.5
  description = "GB of memory of each group."

  validation {
    condition     = var.memory > 0
    error_message = "memory must be positive."
  }
}

variable "identity_ids" {
  type        = list(string)
  default     = []
  description = "User-assigned managed identities of each group."

  validation {
    condition     = alltrue([for id in var.identity_ids : startswith(id, "/subscriptions/")])
    error_message = "identity_ids must be resource ids."
  }
}

variable "environment" {
  type        = map(string)
  default     = {}
  description = "Environment variables; those that are null are left out."

  validation {
    condition     = alltrue([for name, value in var.environment : value == null || value != ""])
    error_message = "environment: an empty value is an error to the generators; use null to leave a variable out."
  }
}

variable "secure_environment" {
  type        = map(string)
  default     = {}
  description = "Environment variables that Azure shows to nobody; those that are null are left out."
  sensitive   = true
}

variable "tags" {
  type        = map(string)
  default     = {}
  description = "Tags of each group."

  validation {
    condition     = length(var.tags) <= 50
    error_message = "tags: at most 50."
  }
}
