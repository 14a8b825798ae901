-- Operators and admins may have alerts sent to the webhook of the installation.

ALTER TABLE user_preferences ADD COLUMN notify_webhook boolean NOT NULL DEFAULT false;
