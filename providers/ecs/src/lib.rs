//! Amazon ECS services as a cloud of Meridian.
