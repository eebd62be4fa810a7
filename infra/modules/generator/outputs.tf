output "names" {
  description = "Names of the container groups."
  value       = [for group in azurerm_container_group.generator : group.name]
}
