"""Recipes: how published datasets are laid out, one small YAML file each, in `recipes/`."""

from ray_audit.layouts.catalogue import recipe_named, recipe_names, recipes
from ray_audit.layouts.expand import Expansion, expanded
from ray_audit.layouts.recipe import Recipe

__all__ = ["Expansion", "Recipe", "expanded", "recipe_named", "recipe_names", "recipes"]
