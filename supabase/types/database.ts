// Written by `tests/deploy/run --types` from the migrations: `supabase gen types`, formatted by `deno fmt`.

export type Json = string | number | boolean | null | { [key: string]: Json | undefined } | Json[];

export type Database = {
  "public": {
    Tables: {
      "hub_ask_rules": {
        Row: {
          "about": string | null;
          "action": string;
          "agent": string | null;
          "created_at": string;
          "created_by": string | null;
          "expires_after": string | null;
          "id": string;
          "on_expiry": string | null;
          "pattern": string | null;
          "persons": (string)[];
          "position": number;
          "roles": (string)[];
          "self": boolean;
          "server_id": string;
          "tool": string | null;
        };
        ComputedFields: never;
        Insert: {
          "about"?: string | null;
          "action": string;
          "agent"?: string | null;
          "created_at"?: string;
          "created_by"?: string | null;
          "expires_after"?: string | null;
          "id"?: string;
          "on_expiry"?: string | null;
          "pattern"?: string | null;
          "persons"?: (string)[];
          "position"?: number;
          "roles"?: (string)[];
          "self"?: boolean;
          "server_id": string;
          "tool"?: string | null;
        };
        Update: {
          "about"?: string | null;
          "action"?: string;
          "agent"?: string | null;
          "created_at"?: string;
          "created_by"?: string | null;
          "expires_after"?: string | null;
          "id"?: string;
          "on_expiry"?: string | null;
          "pattern"?: string | null;
          "persons"?: (string)[];
          "position"?: number;
          "roles"?: (string)[];
          "self"?: boolean;
          "server_id"?: string;
          "tool"?: string | null;
        };
        Relationships: [
          {
            foreignKeyName: "hub_ask_rules_server_id_fkey";
            columns: ["server_id"];
            isOneToOne: false;
            referencedRelation: "hub_servers";
            referencedColumns: ["id"];
          },
        ];
      };
      "hub_asks": {
        Row: {
          "answer": string | null;
          "answer_message_id": string | null;
          "answer_text": string | null;
          "answered_at": string | null;
          "answered_by": string | null;
          "answered_digest": string | null;
          "answered_door": string | null;
          "answered_label": string | null;
          "asked_by": string;
          "attempt": number;
          "body": string | null;
          "budget_id": number | null;
          "channel_id": string | null;
          "created_at": string;
          "digest": string;
          "expires_at": string | null;
          "id": string;
          "input": Json | null;
          "kind": string;
          "message_id": string | null;
          "on_expiry": string | null;
          "options": NonNullable<Json>;
          "parked": boolean;
          "persons": (string)[];
          "ref": string | null;
          "reminded": number;
          "roles": (string)[];
          "self": boolean;
          "server_id": string | null;
          "spent_at": string | null;
          "state": string;
          "taken_at": string | null;
          "task_id": string;
          "thread_id": string | null;
          "title": string;
          "told_at": string | null;
          "tool": string | null;
        };
        ComputedFields: never;
        Insert: {
          "answer"?: string | null;
          "answer_message_id"?: string | null;
          "answer_text"?: string | null;
          "answered_at"?: string | null;
          "answered_by"?: string | null;
          "answered_digest"?: string | null;
          "answered_door"?: string | null;
          "answered_label"?: string | null;
          "asked_by": string;
          "attempt": number;
          "body"?: string | null;
          "budget_id"?: number | null;
          "channel_id"?: string | null;
          "created_at"?: string;
          "digest": string;
          "expires_at"?: string | null;
          "id"?: string;
          "input"?: Json | null;
          "kind": string;
          "message_id"?: string | null;
          "on_expiry"?: string | null;
          "options": NonNullable<Json>;
          "parked"?: boolean;
          "persons"?: (string)[];
          "ref"?: string | null;
          "reminded"?: number;
          "roles"?: (string)[];
          "self"?: boolean;
          "server_id"?: string | null;
          "spent_at"?: string | null;
          "state"?: string;
          "taken_at"?: string | null;
          "task_id": string;
          "thread_id"?: string | null;
          "title": string;
          "told_at"?: string | null;
          "tool"?: string | null;
        };
        Update: {
          "answer"?: string | null;
          "answer_message_id"?: string | null;
          "answer_text"?: string | null;
          "answered_at"?: string | null;
          "answered_by"?: string | null;
          "answered_digest"?: string | null;
          "answered_door"?: string | null;
          "answered_label"?: string | null;
          "asked_by"?: string;
          "attempt"?: number;
          "body"?: string | null;
          "budget_id"?: number | null;
          "channel_id"?: string | null;
          "created_at"?: string;
          "digest"?: string;
          "expires_at"?: string | null;
          "id"?: string;
          "input"?: Json | null;
          "kind"?: string;
          "message_id"?: string | null;
          "on_expiry"?: string | null;
          "options"?: NonNullable<Json>;
          "parked"?: boolean;
          "persons"?: (string)[];
          "ref"?: string | null;
          "reminded"?: number;
          "roles"?: (string)[];
          "self"?: boolean;
          "server_id"?: string | null;
          "spent_at"?: string | null;
          "state"?: string;
          "taken_at"?: string | null;
          "task_id"?: string;
          "thread_id"?: string | null;
          "title"?: string;
          "told_at"?: string | null;
          "tool"?: string | null;
        };
        Relationships: [
          {
            foreignKeyName: "hub_asks_task_id_fkey";
            columns: ["task_id"];
            isOneToOne: false;
            referencedRelation: "mac_tasks";
            referencedColumns: ["id"];
          },
        ];
      };
      "hub_bridges": {
        Row: {
          "allow_commands": boolean;
          "channel_id": string;
          "created_at": string;
          "direction": string;
          "enabled": boolean;
          "id": string;
          "mirrors_strangers": boolean;
          "provider": string;
          "secret_name": string | null;
          "server_id": string;
          "starters": (string)[];
          "starts_tasks": string;
          "target": string;
          "updated_at": string;
          "warned": string | null;
        };
        ComputedFields: never;
        Insert: {
          "allow_commands"?: boolean;
          "channel_id": string;
          "created_at"?: string;
          "direction"?: string;
          "enabled"?: boolean;
          "id"?: string;
          "mirrors_strangers"?: boolean;
          "provider": string;
          "secret_name"?: string | null;
          "server_id": string;
          "starters"?: (string)[];
          "starts_tasks"?: string;
          "target": string;
          "updated_at"?: string;
          "warned"?: string | null;
        };
        Update: {
          "allow_commands"?: boolean;
          "channel_id"?: string;
          "created_at"?: string;
          "direction"?: string;
          "enabled"?: boolean;
          "id"?: string;
          "mirrors_strangers"?: boolean;
          "provider"?: string;
          "secret_name"?: string | null;
          "server_id"?: string;
          "starters"?: (string)[];
          "starts_tasks"?: string;
          "target"?: string;
          "updated_at"?: string;
          "warned"?: string | null;
        };
        Relationships: [
          {
            foreignKeyName: "hub_bridges_channel_id_fkey";
            columns: ["channel_id"];
            isOneToOne: false;
            referencedRelation: "hub_channels";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "hub_bridges_server_id_fkey";
            columns: ["server_id"];
            isOneToOne: false;
            referencedRelation: "hub_servers";
            referencedColumns: ["id"];
          },
        ];
      };
      "hub_budgets": {
        Row: {
          "about": string | null;
          "amount": number;
          "created_at": string;
          "created_by": string | null;
          "has_lanes": boolean;
          "id": number;
          "measure": string;
          "on_silence": string;
          "per": string | null;
          "raised": number;
          "raised_by": string | null;
          "raised_in": string | null;
          "roles": (string)[];
          "scope": string;
          "server_id": string | null;
          "silence": string | null;
          "subject": string;
        };
        ComputedFields: never;
        Insert: {
          "about"?: string | null;
          "amount": number;
          "created_at"?: string;
          "created_by"?: string | null;
          "has_lanes"?: boolean;
          "id"?: never;
          "measure": string;
          "on_silence"?: string;
          "per"?: string | null;
          "raised"?: number;
          "raised_by"?: string | null;
          "raised_in"?: string | null;
          "roles"?: (string)[];
          "scope": string;
          "server_id"?: string | null;
          "silence"?: string | null;
          "subject"?: string;
        };
        Update: {
          "about"?: string | null;
          "amount"?: number;
          "created_at"?: string;
          "created_by"?: string | null;
          "has_lanes"?: boolean;
          "id"?: never;
          "measure"?: string;
          "on_silence"?: string;
          "per"?: string | null;
          "raised"?: number;
          "raised_by"?: string | null;
          "raised_in"?: string | null;
          "roles"?: (string)[];
          "scope"?: string;
          "server_id"?: string | null;
          "silence"?: string | null;
          "subject"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "hub_budgets_server_id_fkey";
            columns: ["server_id"];
            isOneToOne: false;
            referencedRelation: "hub_servers";
            referencedColumns: ["id"];
          },
        ];
      };
      "hub_channel_messages": {
        Row: {
          "channel_id": string;
          "content": string;
          "content_type": string;
          "created_at": string;
          "edit_seq": number | null;
          "embed_data": Json | null;
          "event": string | null;
          "id": string;
          "idempotency_key": string | null;
          "is_progress": boolean;
          "metadata": Json | null;
          "reply_to": string | null;
          "sender_id": string | null;
          "sender_label": string | null;
          "sender_type": string;
          "seq": number;
          "task_id": string | null;
          "task_thread_id": string | null;
        };
        ComputedFields: never;
        Insert: {
          "channel_id": string;
          "content": string;
          "content_type"?: string;
          "created_at"?: string;
          "edit_seq"?: number | null;
          "embed_data"?: Json | null;
          "event"?: string | null;
          "id"?: string;
          "idempotency_key"?: string | null;
          "is_progress"?: boolean;
          "metadata"?: Json | null;
          "reply_to"?: string | null;
          "sender_id"?: string | null;
          "sender_label"?: string | null;
          "sender_type": string;
          "seq": number;
          "task_id"?: string | null;
          "task_thread_id"?: string | null;
        };
        Update: {
          "channel_id"?: string;
          "content"?: string;
          "content_type"?: string;
          "created_at"?: string;
          "edit_seq"?: number | null;
          "embed_data"?: Json | null;
          "event"?: string | null;
          "id"?: string;
          "idempotency_key"?: string | null;
          "is_progress"?: boolean;
          "metadata"?: Json | null;
          "reply_to"?: string | null;
          "sender_id"?: string | null;
          "sender_label"?: string | null;
          "sender_type"?: string;
          "seq"?: number;
          "task_id"?: string | null;
          "task_thread_id"?: string | null;
        };
        Relationships: [
          {
            foreignKeyName: "hub_channel_messages_channel_id_fkey";
            columns: ["channel_id"];
            isOneToOne: false;
            referencedRelation: "hub_channels";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "hub_channel_messages_task_thread_id_fkey";
            columns: ["task_thread_id"];
            isOneToOne: false;
            referencedRelation: "hub_task_threads";
            referencedColumns: ["id"];
          },
        ];
      };
      "hub_channels": {
        Row: {
          "category_group": string | null;
          "created_at": string;
          "description": string | null;
          "display_name": string;
          "edit_count": number;
          "feed": string | null;
          "id": string;
          "is_read_only": boolean;
          "last_message_at": string | null;
          "message_count": number;
          "metadata": Json | null;
          "model_preference": string;
          "name": string;
          "project_path": string | null;
          "server_id": string;
          "thread_decay_after": string | null;
          "thread_idle_after": string | null;
          "thread_replies": string;
          "when_limited": string;
        };
        ComputedFields: never;
        Insert: {
          "category_group"?: string | null;
          "created_at"?: string;
          "description"?: string | null;
          "display_name": string;
          "edit_count"?: number;
          "feed"?: string | null;
          "id"?: string;
          "is_read_only"?: boolean;
          "last_message_at"?: string | null;
          "message_count"?: number;
          "metadata"?: Json | null;
          "model_preference"?: string;
          "name": string;
          "project_path"?: string | null;
          "server_id": string;
          "thread_decay_after"?: string | null;
          "thread_idle_after"?: string | null;
          "thread_replies"?: string;
          "when_limited"?: string;
        };
        Update: {
          "category_group"?: string | null;
          "created_at"?: string;
          "description"?: string | null;
          "display_name"?: string;
          "edit_count"?: number;
          "feed"?: string | null;
          "id"?: string;
          "is_read_only"?: boolean;
          "last_message_at"?: string | null;
          "message_count"?: number;
          "metadata"?: Json | null;
          "model_preference"?: string;
          "name"?: string;
          "project_path"?: string | null;
          "server_id"?: string;
          "thread_decay_after"?: string | null;
          "thread_idle_after"?: string | null;
          "thread_replies"?: string;
          "when_limited"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "hub_channels_server_id_fkey";
            columns: ["server_id"];
            isOneToOne: false;
            referencedRelation: "hub_servers";
            referencedColumns: ["id"];
          },
        ];
      };
      "hub_chat_identities": {
        Row: {
          "author_id": string;
          "created_at": string;
          "label": string;
          "person_label": string;
          "provider": string;
          "user_id": string;
        };
        ComputedFields: never;
        Insert: {
          "author_id": string;
          "created_at"?: string;
          "label": string;
          "person_label": string;
          "provider": string;
          "user_id": string;
        };
        Update: {
          "author_id"?: string;
          "created_at"?: string;
          "label"?: string;
          "person_label"?: string;
          "provider"?: string;
          "user_id"?: string;
        };
        Relationships: [];
      };
      "hub_direct_messages": {
        Row: {
          "content": string;
          "created_at": string;
          "id": string;
          "idempotency_key": string | null;
          "read_at": string | null;
          "sender_id": string;
          "sender_label": string;
          "user_id": string;
        };
        ComputedFields: never;
        Insert: {
          "content": string;
          "created_at"?: string;
          "id"?: string;
          "idempotency_key"?: string | null;
          "read_at"?: string | null;
          "sender_id": string;
          "sender_label": string;
          "user_id": string;
        };
        Update: {
          "content"?: string;
          "created_at"?: string;
          "id"?: string;
          "idempotency_key"?: string | null;
          "read_at"?: string | null;
          "sender_id"?: string;
          "sender_label"?: string;
          "user_id"?: string;
        };
        Relationships: [];
      };
      "hub_errands": {
        Row: {
          "about": string;
          "counts": boolean;
          "function": string | null;
          "name": string;
          "position": number | null;
          "wakes": boolean;
        };
        ComputedFields: never;
        Insert: {
          "about": string;
          "counts"?: boolean;
          "function"?: string | null;
          "name": string;
          "position"?: number | null;
          "wakes"?: boolean;
        };
        Update: {
          "about"?: string;
          "counts"?: boolean;
          "function"?: string | null;
          "name"?: string;
          "position"?: number | null;
          "wakes"?: boolean;
        };
        Relationships: [];
      };
      "hub_hook_tokens": {
        Row: {
          "created_at": string;
          "created_by": string | null;
          "id": string;
          "last_used_at": string | null;
          "name": string;
          "revoked_at": string | null;
          "server_ids": (string)[];
          "targets": (string)[];
          "token_hash": string;
        };
        ComputedFields: never;
        Insert: {
          "created_at"?: string;
          "created_by"?: string | null;
          "id"?: string;
          "last_used_at"?: string | null;
          "name": string;
          "revoked_at"?: string | null;
          "server_ids"?: (string)[];
          "targets": (string)[];
          "token_hash": string;
        };
        Update: {
          "created_at"?: string;
          "created_by"?: string | null;
          "id"?: string;
          "last_used_at"?: string | null;
          "name"?: string;
          "revoked_at"?: string | null;
          "server_ids"?: (string)[];
          "targets"?: (string)[];
          "token_hash"?: string;
        };
        Relationships: [];
      };
      "hub_invitations": {
        Row: {
          "created_at": string;
          "invited_by": string | null;
          "role": string;
          "server_display_name": string;
          "server_id": string;
          "server_name": string;
          "user_id": string;
        };
        ComputedFields: never;
        Insert: {
          "created_at"?: string;
          "invited_by"?: string | null;
          "role": string;
          "server_display_name": string;
          "server_id": string;
          "server_name": string;
          "user_id": string;
        };
        Update: {
          "created_at"?: string;
          "invited_by"?: string | null;
          "role"?: string;
          "server_display_name"?: string;
          "server_id"?: string;
          "server_name"?: string;
          "user_id"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "hub_invitations_server_id_fkey";
            columns: ["server_id"];
            isOneToOne: false;
            referencedRelation: "hub_servers";
            referencedColumns: ["id"];
          },
        ];
      };
      "hub_members": {
        Row: {
          "accepts_hooks": boolean;
          "created_at": string;
          "role": string;
          "server_id": string;
          "user_id": string;
        };
        ComputedFields: never;
        Insert: {
          "accepts_hooks"?: boolean;
          "created_at"?: string;
          "role": string;
          "server_id": string;
          "user_id": string;
        };
        Update: {
          "accepts_hooks"?: boolean;
          "created_at"?: string;
          "role"?: string;
          "server_id"?: string;
          "user_id"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "hub_members_server_id_fkey";
            columns: ["server_id"];
            isOneToOne: false;
            referencedRelation: "hub_servers";
            referencedColumns: ["id"];
          },
        ];
      };
      "hub_message_events": {
        Row: {
          "about": string;
          "color": number | null;
          "content_type": string;
          "description": string;
          "event": string;
          "fields": (string)[];
          "footer": string;
          "forms": (string)[];
          "sender_type": string;
          "text": string;
          "title": string | null;
        };
        ComputedFields: never;
        Insert: {
          "about": string;
          "color"?: number | null;
          "content_type": string;
          "description"?: string;
          "event": string;
          "fields"?: (string)[];
          "footer"?: string;
          "forms"?: never;
          "sender_type": string;
          "text": string;
          "title"?: string | null;
        };
        Update: {
          "about"?: string;
          "color"?: number | null;
          "content_type"?: string;
          "description"?: string;
          "event"?: string;
          "fields"?: (string)[];
          "footer"?: string;
          "forms"?: never;
          "sender_type"?: string;
          "text"?: string;
          "title"?: string | null;
        };
        Relationships: [];
      };
      "hub_model_fallbacks": {
        Row: {
          "fallback": string;
          "id": string;
          "model": string;
          "position": number;
          "server_id": string | null;
        };
        ComputedFields: never;
        Insert: {
          "fallback": string;
          "id"?: string;
          "model": string;
          "position": number;
          "server_id"?: string | null;
        };
        Update: {
          "fallback"?: string;
          "id"?: string;
          "model"?: string;
          "position"?: number;
          "server_id"?: string | null;
        };
        Relationships: [
          {
            foreignKeyName: "hub_model_fallbacks_server_id_fkey";
            columns: ["server_id"];
            isOneToOne: false;
            referencedRelation: "hub_servers";
            referencedColumns: ["id"];
          },
        ];
      };
      "hub_outbox": {
        Row: {
          "ask_id": string | null;
          "attempt": number;
          "body": NonNullable<Json>;
          "bridge_id": string | null;
          "created_at": string;
          "edit_of": string | null;
          "error": string | null;
          "expires_at": string;
          "external_id": string | null;
          "finished_at": string | null;
          "id": string;
          "idempotency_key": string;
          "is_progress": boolean;
          "kind": string;
          "lease_expires_at": string | null;
          "max_attempts": number;
          "message_id": string | null;
          "mirror": boolean;
          "nonce": string | null;
          "overtaken": boolean;
          "parts": (string)[];
          "provider": string;
          "reply_message_id": string | null;
          "reply_to": string | null;
          "run_after": string;
          "secret_name": string;
          "seq": number;
          "server_id": string;
          "status": string;
          "summarises": number;
          "target": string;
          "task_id": string | null;
          "updated_at": string;
        };
        ComputedFields: never;
        Insert: {
          "ask_id"?: string | null;
          "attempt"?: number;
          "body": NonNullable<Json>;
          "bridge_id"?: string | null;
          "created_at"?: string;
          "edit_of"?: string | null;
          "error"?: string | null;
          "expires_at": string;
          "external_id"?: string | null;
          "finished_at"?: string | null;
          "id"?: string;
          "idempotency_key": string;
          "is_progress"?: boolean;
          "kind": string;
          "lease_expires_at"?: string | null;
          "max_attempts"?: number;
          "message_id"?: string | null;
          "mirror"?: boolean;
          "nonce"?: never;
          "overtaken"?: boolean;
          "parts"?: (string)[];
          "provider": string;
          "reply_message_id"?: string | null;
          "reply_to"?: string | null;
          "run_after"?: string;
          "secret_name": string;
          "seq"?: number;
          "server_id": string;
          "status"?: string;
          "summarises"?: number;
          "target": string;
          "task_id"?: string | null;
          "updated_at"?: string;
        };
        Update: {
          "ask_id"?: string | null;
          "attempt"?: number;
          "body"?: NonNullable<Json>;
          "bridge_id"?: string | null;
          "created_at"?: string;
          "edit_of"?: string | null;
          "error"?: string | null;
          "expires_at"?: string;
          "external_id"?: string | null;
          "finished_at"?: string | null;
          "id"?: string;
          "idempotency_key"?: string;
          "is_progress"?: boolean;
          "kind"?: string;
          "lease_expires_at"?: string | null;
          "max_attempts"?: number;
          "message_id"?: string | null;
          "mirror"?: boolean;
          "nonce"?: never;
          "overtaken"?: boolean;
          "parts"?: (string)[];
          "provider"?: string;
          "reply_message_id"?: string | null;
          "reply_to"?: string | null;
          "run_after"?: string;
          "secret_name"?: string;
          "seq"?: number;
          "server_id"?: string;
          "status"?: string;
          "summarises"?: number;
          "target"?: string;
          "task_id"?: string | null;
          "updated_at"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "hub_outbox_bridge_id_fkey";
            columns: ["bridge_id"];
            isOneToOne: false;
            referencedRelation: "hub_bridges";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "hub_outbox_server_id_fkey";
            columns: ["server_id"];
            isOneToOne: false;
            referencedRelation: "hub_servers";
            referencedColumns: ["id"];
          },
        ];
      };
      "hub_places": {
        Row: {
          "created_at": string;
          "device": string | null;
          "id": string;
          "kind": string;
          "secret_name": string | null;
          "server_id": string;
          "target": string;
        };
        ComputedFields: never;
        Insert: {
          "created_at"?: string;
          "device"?: string | null;
          "id"?: string;
          "kind": string;
          "secret_name"?: string | null;
          "server_id": string;
          "target": string;
        };
        Update: {
          "created_at"?: string;
          "device"?: string | null;
          "id"?: string;
          "kind"?: string;
          "secret_name"?: string | null;
          "server_id"?: string;
          "target"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "hub_places_device_fkey";
            columns: ["device"];
            isOneToOne: false;
            referencedRelation: "mesh_devices";
            referencedColumns: ["name"];
          },
          {
            foreignKeyName: "hub_places_server_id_fkey";
            columns: ["server_id"];
            isOneToOne: false;
            referencedRelation: "hub_servers";
            referencedColumns: ["id"];
          },
        ];
      };
      "hub_prices": {
        Row: {
          "cached": number | null;
          "input": number;
          "model": string;
          "output": number;
          "valid_from": string;
          "version": string;
        };
        ComputedFields: never;
        Insert: {
          "cached"?: number | null;
          "input": number;
          "model": string;
          "output": number;
          "valid_from": string;
          "version": string;
        };
        Update: {
          "cached"?: number | null;
          "input"?: number;
          "model"?: string;
          "output"?: number;
          "valid_from"?: string;
          "version"?: string;
        };
        Relationships: [];
      };
      "hub_projects": {
        Row: {
          "base_branch": string | null;
          "created_at": string;
          "id": string;
          "name": string;
          "path": string;
          "pull_request": string;
          "push": boolean;
          "repository": string | null;
          "secret_name": string | null;
          "server_id": string;
          "setup": string | null;
          "setup_inputs": (string)[];
          "verify": string | null;
          "verify_rounds": number;
          "verify_seconds": number;
        };
        ComputedFields: never;
        Insert: {
          "base_branch"?: string | null;
          "created_at"?: string;
          "id"?: string;
          "name": string;
          "path": string;
          "pull_request"?: string;
          "push"?: boolean;
          "repository"?: string | null;
          "secret_name"?: string | null;
          "server_id": string;
          "setup"?: string | null;
          "setup_inputs"?: (string)[];
          "verify"?: string | null;
          "verify_rounds"?: number;
          "verify_seconds"?: number;
        };
        Update: {
          "base_branch"?: string | null;
          "created_at"?: string;
          "id"?: string;
          "name"?: string;
          "path"?: string;
          "pull_request"?: string;
          "push"?: boolean;
          "repository"?: string | null;
          "secret_name"?: string | null;
          "server_id"?: string;
          "setup"?: string | null;
          "setup_inputs"?: (string)[];
          "verify"?: string | null;
          "verify_rounds"?: number;
          "verify_seconds"?: number;
        };
        Relationships: [
          {
            foreignKeyName: "hub_projects_server_id_fkey";
            columns: ["server_id"];
            isOneToOne: false;
            referencedRelation: "hub_servers";
            referencedColumns: ["id"];
          },
        ];
      };
      "hub_routing_examples": {
        Row: {
          "content": string;
          "created_at": string;
          "created_by": string | null;
          "id": string;
          "model": string | null;
          "server_id": string;
          "task_type": string;
          "words": string;
        };
        ComputedFields: never;
        Insert: {
          "content": string;
          "created_at"?: string;
          "created_by"?: string | null;
          "id"?: string;
          "model"?: string | null;
          "server_id": string;
          "task_type": string;
          "words": string;
        };
        Update: {
          "content"?: string;
          "created_at"?: string;
          "created_by"?: string | null;
          "id"?: string;
          "model"?: string | null;
          "server_id"?: string;
          "task_type"?: string;
          "words"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "hub_routing_examples_server_id_fkey";
            columns: ["server_id"];
            isOneToOne: false;
            referencedRelation: "hub_servers";
            referencedColumns: ["id"];
          },
        ];
      };
      "hub_routing_models": {
        Row: {
          "model": string;
          "task_type": string;
        };
        ComputedFields: never;
        Insert: {
          "model": string;
          "task_type": string;
        };
        Update: {
          "model"?: string;
          "task_type"?: string;
        };
        Relationships: [];
      };
      "hub_routing_rules": {
        Row: {
          "compiled": unknown;
          "created_at": string;
          "id": string;
          "model": string | null;
          "platform": string | null;
          "query": string;
          "server_id": string | null;
          "task_type": string | null;
          "weight": number;
        };
        ComputedFields: never;
        Insert: {
          "compiled": unknown;
          "created_at"?: string;
          "id"?: string;
          "model"?: string | null;
          "platform"?: string | null;
          "query": string;
          "server_id"?: string | null;
          "task_type"?: string | null;
          "weight"?: number;
        };
        Update: {
          "compiled"?: unknown;
          "created_at"?: string;
          "id"?: string;
          "model"?: string | null;
          "platform"?: string | null;
          "query"?: string;
          "server_id"?: string | null;
          "task_type"?: string | null;
          "weight"?: number;
        };
        Relationships: [
          {
            foreignKeyName: "hub_routing_rules_server_id_fkey";
            columns: ["server_id"];
            isOneToOne: false;
            referencedRelation: "hub_servers";
            referencedColumns: ["id"];
          },
        ];
      };
      "hub_servers": {
        Row: {
          "access": string;
          "architecture_type": string;
          "channel_count": number;
          "created_at": string;
          "description": string | null;
          "display_name": string;
          "icon": string;
          "id": string;
          "is_default": boolean;
          "metadata": Json | null;
          "name": string;
          "updated_at": string;
        };
        ComputedFields: never;
        Insert: {
          "access"?: string;
          "architecture_type": string;
          "channel_count"?: number;
          "created_at"?: string;
          "description"?: string | null;
          "display_name": string;
          "icon"?: string;
          "id"?: string;
          "is_default"?: boolean;
          "metadata"?: Json | null;
          "name": string;
          "updated_at"?: string;
        };
        Update: {
          "access"?: string;
          "architecture_type"?: string;
          "channel_count"?: number;
          "created_at"?: string;
          "description"?: string | null;
          "display_name"?: string;
          "icon"?: string;
          "id"?: string;
          "is_default"?: boolean;
          "metadata"?: Json | null;
          "name"?: string;
          "updated_at"?: string;
        };
        Relationships: [];
      };
      "hub_sessions": {
        Row: {
          "account": string;
          "agent": string;
          "cost_usd": number;
          "created_at": string;
          "device": string;
          "folder": string | null;
          "id": string;
          "root_id": string;
          "server_id": string | null;
          "session_id": string;
          "state": string;
          "thread_id": string | null;
          "tokens_cached": number;
          "tokens_in": number;
          "tokens_out": number;
          "used_at": string;
          "version": string | null;
          "why": string | null;
        };
        ComputedFields: never;
        Insert: {
          "account": string;
          "agent": string;
          "cost_usd"?: number;
          "created_at"?: string;
          "device": string;
          "folder"?: string | null;
          "id"?: string;
          "root_id": string;
          "server_id"?: string | null;
          "session_id": string;
          "state"?: string;
          "thread_id"?: string | null;
          "tokens_cached"?: number;
          "tokens_in"?: number;
          "tokens_out"?: number;
          "used_at"?: string;
          "version"?: string | null;
          "why"?: string | null;
        };
        Update: {
          "account"?: string;
          "agent"?: string;
          "cost_usd"?: number;
          "created_at"?: string;
          "device"?: string;
          "folder"?: string | null;
          "id"?: string;
          "root_id"?: string;
          "server_id"?: string | null;
          "session_id"?: string;
          "state"?: string;
          "thread_id"?: string | null;
          "tokens_cached"?: number;
          "tokens_in"?: number;
          "tokens_out"?: number;
          "used_at"?: string;
          "version"?: string | null;
          "why"?: string | null;
        };
        Relationships: [
          {
            foreignKeyName: "hub_sessions_server_id_fkey";
            columns: ["server_id"];
            isOneToOne: false;
            referencedRelation: "hub_servers";
            referencedColumns: ["id"];
          },
        ];
      };
      "hub_shares": {
        Row: {
          "id": string;
          "project": string | null;
          "server_id": string;
          "weight": number;
        };
        ComputedFields: never;
        Insert: {
          "id"?: string;
          "project"?: string | null;
          "server_id": string;
          "weight": number;
        };
        Update: {
          "id"?: string;
          "project"?: string | null;
          "server_id"?: string;
          "weight"?: number;
        };
        Relationships: [
          {
            foreignKeyName: "hub_shares_server_id_fkey";
            columns: ["server_id"];
            isOneToOne: false;
            referencedRelation: "hub_servers";
            referencedColumns: ["id"];
          },
        ];
      };
      "hub_task_attempts": {
        Row: {
          "agent": string | null;
          "agent_ended_at": string | null;
          "agent_started_at": string | null;
          "agent_version": string | null;
          "attempt": number;
          "begun_at": string | null;
          "cost_notional": boolean | null;
          "cost_usd": number | null;
          "device": string | null;
          "error": string | null;
          "exit_code": number | null;
          "fallback_from": string | null;
          "finished_at": string | null;
          "limit_source": string | null;
          "limited_until": string | null;
          "model": string | null;
          "outcome": string | null;
          "output_bytes": number | null;
          "peak_memory_bytes": number | null;
          "plan": Json | null;
          "price_version": string | null;
          "reason": string | null;
          "receipt": Json | null;
          "session_id": string | null;
          "signal": number | null;
          "started_at": string;
          "stderr": string | null;
          "task_id": string;
          "tokens_cached": number | null;
          "tokens_in": number | null;
          "tokens_out": number | null;
          "tool_calls": number | null;
          "turns": number | null;
          "used_at": string | null;
        };
        ComputedFields: never;
        Insert: {
          "agent"?: string | null;
          "agent_ended_at"?: string | null;
          "agent_started_at"?: string | null;
          "agent_version"?: string | null;
          "attempt": number;
          "begun_at"?: string | null;
          "cost_notional"?: boolean | null;
          "cost_usd"?: number | null;
          "device"?: string | null;
          "error"?: string | null;
          "exit_code"?: number | null;
          "fallback_from"?: string | null;
          "finished_at"?: string | null;
          "limit_source"?: string | null;
          "limited_until"?: string | null;
          "model"?: string | null;
          "outcome"?: string | null;
          "output_bytes"?: number | null;
          "peak_memory_bytes"?: number | null;
          "plan"?: Json | null;
          "price_version"?: string | null;
          "reason"?: string | null;
          "receipt"?: Json | null;
          "session_id"?: string | null;
          "signal"?: number | null;
          "started_at"?: string;
          "stderr"?: string | null;
          "task_id": string;
          "tokens_cached"?: number | null;
          "tokens_in"?: number | null;
          "tokens_out"?: number | null;
          "tool_calls"?: number | null;
          "turns"?: number | null;
          "used_at"?: string | null;
        };
        Update: {
          "agent"?: string | null;
          "agent_ended_at"?: string | null;
          "agent_started_at"?: string | null;
          "agent_version"?: string | null;
          "attempt"?: number;
          "begun_at"?: string | null;
          "cost_notional"?: boolean | null;
          "cost_usd"?: number | null;
          "device"?: string | null;
          "error"?: string | null;
          "exit_code"?: number | null;
          "fallback_from"?: string | null;
          "finished_at"?: string | null;
          "limit_source"?: string | null;
          "limited_until"?: string | null;
          "model"?: string | null;
          "outcome"?: string | null;
          "output_bytes"?: number | null;
          "peak_memory_bytes"?: number | null;
          "plan"?: Json | null;
          "price_version"?: string | null;
          "reason"?: string | null;
          "receipt"?: Json | null;
          "session_id"?: string | null;
          "signal"?: number | null;
          "started_at"?: string;
          "stderr"?: string | null;
          "task_id"?: string;
          "tokens_cached"?: number | null;
          "tokens_in"?: number | null;
          "tokens_out"?: number | null;
          "tool_calls"?: number | null;
          "turns"?: number | null;
          "used_at"?: string | null;
        };
        Relationships: [
          {
            foreignKeyName: "hub_task_attempts_task_id_fkey";
            columns: ["task_id"];
            isOneToOne: false;
            referencedRelation: "mac_tasks";
            referencedColumns: ["id"];
          },
        ];
      };
      "hub_task_needs": {
        Row: {
          "created_at": string;
          "needs": string;
          "on_failure": string;
          "task": string;
        };
        ComputedFields: never;
        Insert: {
          "created_at"?: string;
          "needs": string;
          "on_failure"?: string;
          "task": string;
        };
        Update: {
          "created_at"?: string;
          "needs"?: string;
          "on_failure"?: string;
          "task"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "hub_task_needs_needs_fkey";
            columns: ["needs"];
            isOneToOne: false;
            referencedRelation: "mac_tasks";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "hub_task_needs_task_fkey";
            columns: ["task"];
            isOneToOne: false;
            referencedRelation: "mac_tasks";
            referencedColumns: ["id"];
          },
        ];
      };
      "hub_task_threads": {
        Row: {
          "archived_at": string | null;
          "channel_id": string;
          "created_at": string;
          "decay_at": string | null;
          "edit_count": number;
          "id": string;
          "last_activity_at": string;
          "message_count": number;
          "metadata": Json | null;
          "name": string;
          "state_entered_at": string;
          "status": string;
          "task_id": string | null;
          "team_id": string | null;
        };
        ComputedFields: never;
        Insert: {
          "archived_at"?: string | null;
          "channel_id": string;
          "created_at"?: string;
          "decay_at"?: string | null;
          "edit_count"?: number;
          "id"?: string;
          "last_activity_at"?: string;
          "message_count"?: number;
          "metadata"?: Json | null;
          "name": string;
          "state_entered_at"?: string;
          "status"?: string;
          "task_id"?: string | null;
          "team_id"?: string | null;
        };
        Update: {
          "archived_at"?: string | null;
          "channel_id"?: string;
          "created_at"?: string;
          "decay_at"?: string | null;
          "edit_count"?: number;
          "id"?: string;
          "last_activity_at"?: string;
          "message_count"?: number;
          "metadata"?: Json | null;
          "name"?: string;
          "state_entered_at"?: string;
          "status"?: string;
          "task_id"?: string | null;
          "team_id"?: string | null;
        };
        Relationships: [
          {
            foreignKeyName: "hub_task_threads_channel_id_fkey";
            columns: ["channel_id"];
            isOneToOne: false;
            referencedRelation: "hub_channels";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "hub_task_threads_task_fkey";
            columns: ["task_id"];
            isOneToOne: false;
            referencedRelation: "mac_tasks";
            referencedColumns: ["id"];
          },
        ];
      };
      "hub_teams": {
        Row: {
          "branches": string;
          "created_at": string;
          "ended_at": string | null;
          "gather": string;
          "id": string;
          "message_id": string | null;
          "planned_by": string | null;
          "server_id": string | null;
          "shown_at": string | null;
          "source": string;
          "task_id": string;
        };
        ComputedFields: never;
        Insert: {
          "branches"?: string;
          "created_at"?: string;
          "ended_at"?: string | null;
          "gather"?: string;
          "id"?: string;
          "message_id"?: string | null;
          "planned_by"?: string | null;
          "server_id"?: string | null;
          "shown_at"?: string | null;
          "source": string;
          "task_id": string;
        };
        Update: {
          "branches"?: string;
          "created_at"?: string;
          "ended_at"?: string | null;
          "gather"?: string;
          "id"?: string;
          "message_id"?: string | null;
          "planned_by"?: string | null;
          "server_id"?: string | null;
          "shown_at"?: string | null;
          "source"?: string;
          "task_id"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "hub_teams_server_id_fkey";
            columns: ["server_id"];
            isOneToOne: false;
            referencedRelation: "hub_servers";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "hub_teams_task_id_fkey";
            columns: ["task_id"];
            isOneToOne: true;
            referencedRelation: "mac_tasks";
            referencedColumns: ["id"];
          },
        ];
      };
      "hub_webhook_deliveries": {
        Row: {
          "attempt": number;
          "delivery_id": string;
          "error": string | null;
          "event": string;
          "finished_at": string | null;
          "id": string;
          "payload": NonNullable<Json>;
          "provider": string;
          "received_at": string;
          "run_after": string;
          "secret_name": string;
          "seq": number;
          "status": string;
        };
        ComputedFields: never;
        Insert: {
          "attempt"?: number;
          "delivery_id": string;
          "error"?: string | null;
          "event": string;
          "finished_at"?: string | null;
          "id"?: string;
          "payload": NonNullable<Json>;
          "provider": string;
          "received_at"?: string;
          "run_after"?: string;
          "secret_name"?: string;
          "seq"?: never;
          "status"?: string;
        };
        Update: {
          "attempt"?: number;
          "delivery_id"?: string;
          "error"?: string | null;
          "event"?: string;
          "finished_at"?: string | null;
          "id"?: string;
          "payload"?: NonNullable<Json>;
          "provider"?: string;
          "received_at"?: string;
          "run_after"?: string;
          "secret_name"?: string;
          "seq"?: never;
          "status"?: string;
        };
        Relationships: [];
      };
      "hub_webhook_outcomes": {
        Row: {
          "delivery_id": string;
          "error": string | null;
          "server_id": string;
          "status": string;
          "task_ids": (string)[];
          "updated_at": string;
        };
        ComputedFields: never;
        Insert: {
          "delivery_id": string;
          "error"?: string | null;
          "server_id": string;
          "status": string;
          "task_ids"?: (string)[];
          "updated_at"?: string;
        };
        Update: {
          "delivery_id"?: string;
          "error"?: string | null;
          "server_id"?: string;
          "status"?: string;
          "task_ids"?: (string)[];
          "updated_at"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "hub_webhook_outcomes_delivery_id_fkey";
            columns: ["delivery_id"];
            isOneToOne: false;
            referencedRelation: "hub_webhook_deliveries";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "hub_webhook_outcomes_server_id_fkey";
            columns: ["server_id"];
            isOneToOne: false;
            referencedRelation: "hub_servers";
            referencedColumns: ["id"];
          },
        ];
      };
      "hub_webhook_rules": {
        Row: {
          "action": string | null;
          "agent": string | null;
          "answer": boolean;
          "author": string | null;
          "branch": string | null;
          "channel_id": string;
          "command": string | null;
          "created_at": string;
          "enabled": boolean;
          "event": string;
          "id": string;
          "label": string | null;
          "last_matched_at": string | null;
          "mentions": boolean;
          "model": string | null;
          "position": number;
          "project": string | null;
          "provider": string;
          "repository": string | null;
          "server_id": string;
          "template": string;
          "updated_at": string;
        };
        ComputedFields: never;
        Insert: {
          "action"?: string | null;
          "agent"?: string | null;
          "answer"?: boolean;
          "author"?: string | null;
          "branch"?: string | null;
          "channel_id": string;
          "command"?: string | null;
          "created_at"?: string;
          "enabled"?: boolean;
          "event": string;
          "id"?: string;
          "label"?: string | null;
          "last_matched_at"?: string | null;
          "mentions"?: boolean;
          "model"?: string | null;
          "position"?: number;
          "project"?: string | null;
          "provider"?: string;
          "repository"?: string | null;
          "server_id": string;
          "template": string;
          "updated_at"?: string;
        };
        Update: {
          "action"?: string | null;
          "agent"?: string | null;
          "answer"?: boolean;
          "author"?: string | null;
          "branch"?: string | null;
          "channel_id"?: string;
          "command"?: string | null;
          "created_at"?: string;
          "enabled"?: boolean;
          "event"?: string;
          "id"?: string;
          "label"?: string | null;
          "last_matched_at"?: string | null;
          "mentions"?: boolean;
          "model"?: string | null;
          "position"?: number;
          "project"?: string | null;
          "provider"?: string;
          "repository"?: string | null;
          "server_id"?: string;
          "template"?: string;
          "updated_at"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "hub_webhook_rules_channel_id_fkey";
            columns: ["channel_id"];
            isOneToOne: false;
            referencedRelation: "hub_channels";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "hub_webhook_rules_server_id_fkey";
            columns: ["server_id"];
            isOneToOne: false;
            referencedRelation: "hub_servers";
            referencedColumns: ["id"];
          },
        ];
      };
      "hub_workspaces": {
        Row: {
          "base": string | null;
          "branch": string;
          "bundled": boolean;
          "created_at": string;
          "device": string;
          "head": string | null;
          "kind": string;
          "merged_at": string | null;
          "name": string;
          "project": string | null;
          "pull_request": string | null;
          "pushed_head": string | null;
          "removed_at": string | null;
          "root_id": string;
          "server_id": string | null;
          "size_bytes": number | null;
          "state": string;
          "thread_id": string | null;
          "updated_at": string;
        };
        ComputedFields: never;
        Insert: {
          "base"?: string | null;
          "branch": string;
          "bundled"?: boolean;
          "created_at"?: string;
          "device": string;
          "head"?: string | null;
          "kind": string;
          "merged_at"?: string | null;
          "name": string;
          "project"?: string | null;
          "pull_request"?: string | null;
          "pushed_head"?: string | null;
          "removed_at"?: string | null;
          "root_id": string;
          "server_id"?: string | null;
          "size_bytes"?: number | null;
          "state"?: string;
          "thread_id"?: string | null;
          "updated_at"?: string;
        };
        Update: {
          "base"?: string | null;
          "branch"?: string;
          "bundled"?: boolean;
          "created_at"?: string;
          "device"?: string;
          "head"?: string | null;
          "kind"?: string;
          "merged_at"?: string | null;
          "name"?: string;
          "project"?: string | null;
          "pull_request"?: string | null;
          "pushed_head"?: string | null;
          "removed_at"?: string | null;
          "root_id"?: string;
          "server_id"?: string | null;
          "size_bytes"?: number | null;
          "state"?: string;
          "thread_id"?: string | null;
          "updated_at"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "hub_workspaces_server_id_fkey";
            columns: ["server_id"];
            isOneToOne: false;
            referencedRelation: "hub_servers";
            referencedColumns: ["id"];
          },
        ];
      };
      "koji_accounts": {
        Row: {
          "created_at": string;
          "id": string;
          "market": string;
          "name": string;
          "server_id": string;
        };
        ComputedFields: never;
        Insert: {
          "created_at"?: string;
          "id"?: string;
          "market": string;
          "name": string;
          "server_id": string;
        };
        Update: {
          "created_at"?: string;
          "id"?: string;
          "market"?: string;
          "name"?: string;
          "server_id"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "koji_accounts_server_id_fkey";
            columns: ["server_id"];
            isOneToOne: false;
            referencedRelation: "hub_servers";
            referencedColumns: ["id"];
          },
        ];
      };
      "koji_commands": {
        Row: {
          "description": string;
          "function": string;
          "name": string;
          "usage": string;
          "writes": boolean;
        };
        ComputedFields: never;
        Insert: {
          "description": string;
          "function": string;
          "name": string;
          "usage": string;
          "writes"?: boolean;
        };
        Update: {
          "description"?: string;
          "function"?: string;
          "name"?: string;
          "usage"?: string;
          "writes"?: boolean;
        };
        Relationships: [];
      };
      "koji_followups": {
        Row: {
          "done_at": string | null;
          "due_at": string;
          "id": string;
          "prospect_id": string;
          "server_id": string;
        };
        ComputedFields: never;
        Insert: {
          "done_at"?: string | null;
          "due_at": string;
          "id"?: string;
          "prospect_id": string;
          "server_id": string;
        };
        Update: {
          "done_at"?: string | null;
          "due_at"?: string;
          "id"?: string;
          "prospect_id"?: string;
          "server_id"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "koji_followups_prospect_id_fkey";
            columns: ["prospect_id"];
            isOneToOne: false;
            referencedRelation: "koji_prospects";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "koji_followups_server_id_fkey";
            columns: ["server_id"];
            isOneToOne: false;
            referencedRelation: "hub_servers";
            referencedColumns: ["id"];
          },
        ];
      };
      "koji_orders": {
        Row: {
          "account_id": string;
          "amount_cents": number;
          "id": string;
          "ordered_at": string;
          "server_id": string;
        };
        ComputedFields: never;
        Insert: {
          "account_id": string;
          "amount_cents": number;
          "id"?: string;
          "ordered_at"?: string;
          "server_id": string;
        };
        Update: {
          "account_id"?: string;
          "amount_cents"?: number;
          "id"?: string;
          "ordered_at"?: string;
          "server_id"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "koji_orders_account_id_fkey";
            columns: ["account_id"];
            isOneToOne: false;
            referencedRelation: "koji_accounts";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "koji_orders_server_id_fkey";
            columns: ["server_id"];
            isOneToOne: false;
            referencedRelation: "hub_servers";
            referencedColumns: ["id"];
          },
        ];
      };
      "koji_prospects": {
        Row: {
          "address": string | null;
          "contact": string | null;
          "created_at": string;
          "id": string;
          "last_contact_at": string | null;
          "market": string;
          "name": string;
          "notes": string | null;
          "number": number;
          "rating": number | null;
          "server_id": string;
          "stage": string;
          "tier": string;
        };
        ComputedFields: never;
        Insert: {
          "address"?: string | null;
          "contact"?: string | null;
          "created_at"?: string;
          "id"?: string;
          "last_contact_at"?: string | null;
          "market": string;
          "name": string;
          "notes"?: string | null;
          "number": number;
          "rating"?: number | null;
          "server_id": string;
          "stage"?: string;
          "tier": string;
        };
        Update: {
          "address"?: string | null;
          "contact"?: string | null;
          "created_at"?: string;
          "id"?: string;
          "last_contact_at"?: string | null;
          "market"?: string;
          "name"?: string;
          "notes"?: string | null;
          "number"?: number;
          "rating"?: number | null;
          "server_id"?: string;
          "stage"?: string;
          "tier"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "koji_prospects_server_id_fkey";
            columns: ["server_id"];
            isOneToOne: false;
            referencedRelation: "hub_servers";
            referencedColumns: ["id"];
          },
        ];
      };
      "koji_samples": {
        Row: {
          "id": string;
          "prospect_id": string;
          "sent_at": string;
          "server_id": string;
        };
        ComputedFields: never;
        Insert: {
          "id"?: string;
          "prospect_id": string;
          "sent_at"?: string;
          "server_id": string;
        };
        Update: {
          "id"?: string;
          "prospect_id"?: string;
          "sent_at"?: string;
          "server_id"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "koji_samples_prospect_id_fkey";
            columns: ["prospect_id"];
            isOneToOne: false;
            referencedRelation: "koji_prospects";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "koji_samples_server_id_fkey";
            columns: ["server_id"];
            isOneToOne: false;
            referencedRelation: "hub_servers";
            referencedColumns: ["id"];
          },
        ];
      };
      "koji_sweeps": {
        Row: {
          "added": number | null;
          "attempt": number;
          "city": string;
          "created_at": string;
          "error": string | null;
          "finished_at": string | null;
          "found": number | null;
          "id": string;
          "lease_expires_at": string | null;
          "requested_by": string | null;
          "run_after": string;
          "server_id": string;
          "source": string | null;
          "started_at": string | null;
          "status": string;
        };
        ComputedFields: never;
        Insert: {
          "added"?: number | null;
          "attempt"?: number;
          "city": string;
          "created_at"?: string;
          "error"?: string | null;
          "finished_at"?: string | null;
          "found"?: number | null;
          "id"?: string;
          "lease_expires_at"?: string | null;
          "requested_by"?: string | null;
          "run_after"?: string;
          "server_id": string;
          "source"?: string | null;
          "started_at"?: string | null;
          "status"?: string;
        };
        Update: {
          "added"?: number | null;
          "attempt"?: number;
          "city"?: string;
          "created_at"?: string;
          "error"?: string | null;
          "finished_at"?: string | null;
          "found"?: number | null;
          "id"?: string;
          "lease_expires_at"?: string | null;
          "requested_by"?: string | null;
          "run_after"?: string;
          "server_id"?: string;
          "source"?: string | null;
          "started_at"?: string | null;
          "status"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "koji_sweeps_server_id_fkey";
            columns: ["server_id"];
            isOneToOne: false;
            referencedRelation: "hub_servers";
            referencedColumns: ["id"];
          },
        ];
      };
      "mac_tasks": {
        Row: {
          "agent": string | null;
          "attempt": number;
          "cancel_requested_at": string | null;
          "channel_id": string | null;
          "claimed_at": string | null;
          "claimed_by": string | null;
          "content": string;
          "created_at": string;
          "created_by": string | null;
          "error": string | null;
          "finished_at": string | null;
          "id": string;
          "idempotency_key": string | null;
          "lane": number | null;
          "lease_expires_at": string | null;
          "max_attempts": number;
          "message_id": string | null;
          "metadata": Json | null;
          "model": string | null;
          "model_pinned": boolean;
          "model_preference": string;
          "parent_id": string | null;
          "partial_output": string | null;
          "platform": string;
          "priority": number;
          "progress_count": number;
          "project": string | null;
          "queue_key": string | null;
          "quiet": boolean;
          "requested_agent": string | null;
          "requested_device": string | null;
          "result": string | null;
          "root_id": string | null;
          "run_after": string | null;
          "seq": number;
          "server_id": string | null;
          "session_device": string | null;
          "session_id": string | null;
          "status": string;
          "task_type": string;
          "team_id": string | null;
          "thread_id": string | null;
          "told": string | null;
          "updated_at": string;
        };
        ComputedFields: never;
        Insert: {
          "agent"?: string | null;
          "attempt"?: number;
          "cancel_requested_at"?: string | null;
          "channel_id"?: string | null;
          "claimed_at"?: string | null;
          "claimed_by"?: string | null;
          "content": string;
          "created_at"?: string;
          "created_by"?: string | null;
          "error"?: string | null;
          "finished_at"?: string | null;
          "id"?: string;
          "idempotency_key"?: string | null;
          "lane"?: number | null;
          "lease_expires_at"?: string | null;
          "max_attempts"?: number;
          "message_id"?: string | null;
          "metadata"?: Json | null;
          "model"?: string | null;
          "model_pinned"?: boolean;
          "model_preference"?: string;
          "parent_id"?: string | null;
          "partial_output"?: string | null;
          "platform"?: string;
          "priority"?: number;
          "progress_count"?: number;
          "project"?: string | null;
          "queue_key"?: string | null;
          "quiet"?: boolean;
          "requested_agent"?: string | null;
          "requested_device"?: string | null;
          "result"?: string | null;
          "root_id"?: string | null;
          "run_after"?: string | null;
          "seq"?: number;
          "server_id"?: string | null;
          "session_device"?: string | null;
          "session_id"?: string | null;
          "status"?: string;
          "task_type"?: string;
          "team_id"?: string | null;
          "thread_id"?: string | null;
          "told"?: string | null;
          "updated_at"?: string;
        };
        Update: {
          "agent"?: string | null;
          "attempt"?: number;
          "cancel_requested_at"?: string | null;
          "channel_id"?: string | null;
          "claimed_at"?: string | null;
          "claimed_by"?: string | null;
          "content"?: string;
          "created_at"?: string;
          "created_by"?: string | null;
          "error"?: string | null;
          "finished_at"?: string | null;
          "id"?: string;
          "idempotency_key"?: string | null;
          "lane"?: number | null;
          "lease_expires_at"?: string | null;
          "max_attempts"?: number;
          "message_id"?: string | null;
          "metadata"?: Json | null;
          "model"?: string | null;
          "model_pinned"?: boolean;
          "model_preference"?: string;
          "parent_id"?: string | null;
          "partial_output"?: string | null;
          "platform"?: string;
          "priority"?: number;
          "progress_count"?: number;
          "project"?: string | null;
          "queue_key"?: string | null;
          "quiet"?: boolean;
          "requested_agent"?: string | null;
          "requested_device"?: string | null;
          "result"?: string | null;
          "root_id"?: string | null;
          "run_after"?: string | null;
          "seq"?: number;
          "server_id"?: string | null;
          "session_device"?: string | null;
          "session_id"?: string | null;
          "status"?: string;
          "task_type"?: string;
          "team_id"?: string | null;
          "thread_id"?: string | null;
          "told"?: string | null;
          "updated_at"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "mac_tasks_channel_fkey";
            columns: ["channel_id"];
            isOneToOne: false;
            referencedRelation: "hub_channels";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "mac_tasks_message_fkey";
            columns: ["message_id"];
            isOneToOne: false;
            referencedRelation: "hub_channel_messages";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "mac_tasks_parent_fkey";
            columns: ["parent_id"];
            isOneToOne: false;
            referencedRelation: "mac_tasks";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "mac_tasks_thread_fkey";
            columns: ["thread_id"];
            isOneToOne: false;
            referencedRelation: "hub_task_threads";
            referencedColumns: ["id"];
          },
        ];
      };
      "mesh_device_servers": {
        Row: {
          "created_at": string;
          "device": string;
          "server_id": string;
        };
        ComputedFields: never;
        Insert: {
          "created_at"?: string;
          "device": string;
          "server_id": string;
        };
        Update: {
          "created_at"?: string;
          "device"?: string;
          "server_id"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "mesh_device_servers_device_fkey";
            columns: ["device"];
            isOneToOne: false;
            referencedRelation: "mesh_devices";
            referencedColumns: ["name"];
          },
          {
            foreignKeyName: "mesh_device_servers_server_id_fkey";
            columns: ["server_id"];
            isOneToOne: false;
            referencedRelation: "hub_servers";
            referencedColumns: ["id"];
          },
        ];
      };
      "mesh_devices": {
        Row: {
          "agents": NonNullable<Json>;
          "capacity": number;
          "created_at": string;
          "disk_free_bytes": number | null;
          "drained_at": string | null;
          "labels": (string)[];
          "last_heartbeat_at": string | null;
          "memory_free_bytes": number | null;
          "name": string;
          "platform": string | null;
          "projects_told": boolean;
          "revoked_at": string | null;
          "serves_all": boolean;
          "signed_off_at": string | null;
          "stopping_at": string | null;
          "updated_at": string;
          "user_id": string | null;
        };
        ComputedFields: never;
        Insert: {
          "agents"?: NonNullable<Json>;
          "capacity"?: number;
          "created_at"?: string;
          "disk_free_bytes"?: number | null;
          "drained_at"?: string | null;
          "labels"?: (string)[];
          "last_heartbeat_at"?: string | null;
          "memory_free_bytes"?: number | null;
          "name": string;
          "platform"?: string | null;
          "projects_told"?: boolean;
          "revoked_at"?: string | null;
          "serves_all"?: boolean;
          "signed_off_at"?: string | null;
          "stopping_at"?: string | null;
          "updated_at"?: string;
          "user_id"?: string | null;
        };
        Update: {
          "agents"?: NonNullable<Json>;
          "capacity"?: number;
          "created_at"?: string;
          "disk_free_bytes"?: number | null;
          "drained_at"?: string | null;
          "labels"?: (string)[];
          "last_heartbeat_at"?: string | null;
          "memory_free_bytes"?: number | null;
          "name"?: string;
          "platform"?: string | null;
          "projects_told"?: boolean;
          "revoked_at"?: string | null;
          "serves_all"?: boolean;
          "signed_off_at"?: string | null;
          "stopping_at"?: string | null;
          "updated_at"?: string;
          "user_id"?: string | null;
        };
        Relationships: [];
      };
      "mesh_logins": {
        Row: {
          "agent": string;
          "broken_since": string;
          "device": string;
          "reason": string | null;
        };
        ComputedFields: never;
        Insert: {
          "agent": string;
          "broken_since": string;
          "device": string;
          "reason"?: string | null;
        };
        Update: {
          "agent"?: string;
          "broken_since"?: string;
          "device"?: string;
          "reason"?: string | null;
        };
        Relationships: [
          {
            foreignKeyName: "mesh_logins_device_fkey";
            columns: ["device"];
            isOneToOne: false;
            referencedRelation: "mesh_devices";
            referencedColumns: ["name"];
          },
        ];
      };
      "mesh_quota_pools": {
        Row: {
          "account": string;
          "agent": string;
          "id": number;
          "kept": boolean;
          "lifted_at": string | null;
          "limited_since": string | null;
          "limited_until": string | null;
          "model": string | null;
          "reason": string | null;
          "reported_at": string;
          "reported_by": string;
          "resets_at": string | null;
          "servers": (string)[] | null;
          "source": string;
          "used_share": number | null;
          "window_name": string | null;
        };
        ComputedFields: never;
        Insert: {
          "account": string;
          "agent": string;
          "id"?: never;
          "kept"?: boolean;
          "lifted_at"?: string | null;
          "limited_since"?: string | null;
          "limited_until"?: string | null;
          "model"?: string | null;
          "reason"?: string | null;
          "reported_at": string;
          "reported_by": string;
          "resets_at"?: string | null;
          "servers"?: (string)[] | null;
          "source": string;
          "used_share"?: number | null;
          "window_name"?: string | null;
        };
        Update: {
          "account"?: string;
          "agent"?: string;
          "id"?: never;
          "kept"?: boolean;
          "lifted_at"?: string | null;
          "limited_since"?: string | null;
          "limited_until"?: string | null;
          "model"?: string | null;
          "reason"?: string | null;
          "reported_at"?: string;
          "reported_by"?: string;
          "resets_at"?: string | null;
          "servers"?: (string)[] | null;
          "source"?: string;
          "used_share"?: number | null;
          "window_name"?: string | null;
        };
        Relationships: [];
      };
    };
    Views: {
      [_ in never]: never;
    };
    Functions: {
      "hub_accept_invitation": {
        Args: { "p_server_id": string };
        Returns: {
          "accepts_hooks": boolean;
          "created_at": string;
          "role": string;
          "server_id": string;
          "user_id": string;
        };
        SetofOptions: {
          from: "*";
          to: "hub_members";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_agent_stops": {
        Args: Record<PropertyKey, never>;
        Returns: {
          "agent": string;
          "detail": string;
          "device": string;
          "model": string;
          "reason": string;
          "since": string;
          "source": string;
          "until": string;
          "window_name": string;
        }[];
      };
      "hub_answer_ask": {
        Args: { "p_answer"?: string; "p_ask_id": string; "p_digest"?: string; "p_text"?: string };
        Returns: {
          "answer": string | null;
          "answer_message_id": string | null;
          "answer_text": string | null;
          "answered_at": string | null;
          "answered_by": string | null;
          "answered_digest": string | null;
          "answered_door": string | null;
          "answered_label": string | null;
          "asked_by": string;
          "attempt": number;
          "body": string | null;
          "budget_id": number | null;
          "channel_id": string | null;
          "created_at": string;
          "digest": string;
          "expires_at": string | null;
          "id": string;
          "input": Json | null;
          "kind": string;
          "message_id": string | null;
          "on_expiry": string | null;
          "options": NonNullable<Json>;
          "parked": boolean;
          "persons": (string)[];
          "ref": string | null;
          "reminded": number;
          "roles": (string)[];
          "self": boolean;
          "server_id": string | null;
          "spent_at": string | null;
          "state": string;
          "taken_at": string | null;
          "task_id": string;
          "thread_id": string | null;
          "title": string;
          "told_at": string | null;
          "tool": string | null;
        };
        SetofOptions: {
          from: "*";
          to: "hub_asks";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_answer_by_token": { Args: { "p_answer"?: string; "p_token": string }; Returns: Json };
      "hub_answer_from_chat": { Args: { "p_author_id": string; "p_chat": string; "p_key": string; "p_provider": string }; Returns: Json };
      "hub_answer_task": {
        Args: { "p_answer": string; "p_task_id": string };
        Returns: {
          "agent": string | null;
          "attempt": number;
          "cancel_requested_at": string | null;
          "channel_id": string | null;
          "claimed_at": string | null;
          "claimed_by": string | null;
          "content": string;
          "created_at": string;
          "created_by": string | null;
          "error": string | null;
          "finished_at": string | null;
          "id": string;
          "idempotency_key": string | null;
          "lane": number | null;
          "lease_expires_at": string | null;
          "max_attempts": number;
          "message_id": string | null;
          "metadata": Json | null;
          "model": string | null;
          "model_pinned": boolean;
          "model_preference": string;
          "parent_id": string | null;
          "partial_output": string | null;
          "platform": string;
          "priority": number;
          "progress_count": number;
          "project": string | null;
          "queue_key": string | null;
          "quiet": boolean;
          "requested_agent": string | null;
          "requested_device": string | null;
          "result": string | null;
          "root_id": string | null;
          "run_after": string | null;
          "seq": number;
          "server_id": string | null;
          "session_device": string | null;
          "session_id": string | null;
          "status": string;
          "task_type": string;
          "team_id": string | null;
          "thread_id": string | null;
          "told": string | null;
          "updated_at": string;
        };
        SetofOptions: {
          from: "*";
          to: "mac_tasks";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_ask": {
        Args: {
          "p_attempt": number;
          "p_body"?: string;
          "p_input"?: Json;
          "p_kind": string;
          "p_options"?: Json;
          "p_ref"?: string;
          "p_task_id": string;
          "p_title": string;
        };
        Returns: {
          "answer": string | null;
          "answer_message_id": string | null;
          "answer_text": string | null;
          "answered_at": string | null;
          "answered_by": string | null;
          "answered_digest": string | null;
          "answered_door": string | null;
          "answered_label": string | null;
          "asked_by": string;
          "attempt": number;
          "body": string | null;
          "budget_id": number | null;
          "channel_id": string | null;
          "created_at": string;
          "digest": string;
          "expires_at": string | null;
          "id": string;
          "input": Json | null;
          "kind": string;
          "message_id": string | null;
          "on_expiry": string | null;
          "options": NonNullable<Json>;
          "parked": boolean;
          "persons": (string)[];
          "ref": string | null;
          "reminded": number;
          "roles": (string)[];
          "self": boolean;
          "server_id": string | null;
          "spent_at": string | null;
          "state": string;
          "taken_at": string | null;
          "task_id": string;
          "thread_id": string | null;
          "title": string;
          "told_at": string | null;
          "tool": string | null;
        };
        SetofOptions: {
          from: "*";
          to: "hub_asks";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_attempt_thread": {
        Args: { "p_attempt": number; "p_before"?: number; "p_limit"?: number; "p_task_id": string };
        Returns: {
          "channel_id": string;
          "content": string;
          "content_type": string;
          "created_at": string;
          "edit_seq": number | null;
          "embed_data": Json | null;
          "event": string | null;
          "id": string;
          "idempotency_key": string | null;
          "is_progress": boolean;
          "metadata": Json | null;
          "reply_to": string | null;
          "sender_id": string | null;
          "sender_label": string | null;
          "sender_type": string;
          "seq": number;
          "task_id": string | null;
          "task_thread_id": string | null;
        }[];
        SetofOptions: {
          from: "*";
          to: "hub_channel_messages";
          isOneToOne: false;
          isSetofReturn: true;
        };
      };
      "hub_begin_attempt": { Args: { "p_attempt": number; "p_task_id": string }; Returns: Json };
      "hub_budget_state": {
        Args: Record<PropertyKey, never>;
        Returns: {
          "about": string;
          "amount": number;
          "id": number;
          "level": number;
          "measure": string;
          "met": boolean;
          "name": string;
          "on_silence": string;
          "per": string;
          "remaining": number;
          "roles": (string)[];
          "scope": string;
          "server_id": string;
          "server_name": string;
          "silence_seconds": number;
          "since": string;
          "subject": string;
          "until": string;
          "used": number;
        }[];
      };
      "hub_cancel_task": {
        Args: { "p_task_id": string };
        Returns: {
          "agent": string | null;
          "attempt": number;
          "cancel_requested_at": string | null;
          "channel_id": string | null;
          "claimed_at": string | null;
          "claimed_by": string | null;
          "content": string;
          "created_at": string;
          "created_by": string | null;
          "error": string | null;
          "finished_at": string | null;
          "id": string;
          "idempotency_key": string | null;
          "lane": number | null;
          "lease_expires_at": string | null;
          "max_attempts": number;
          "message_id": string | null;
          "metadata": Json | null;
          "model": string | null;
          "model_pinned": boolean;
          "model_preference": string;
          "parent_id": string | null;
          "partial_output": string | null;
          "platform": string;
          "priority": number;
          "progress_count": number;
          "project": string | null;
          "queue_key": string | null;
          "quiet": boolean;
          "requested_agent": string | null;
          "requested_device": string | null;
          "result": string | null;
          "root_id": string | null;
          "run_after": string | null;
          "seq": number;
          "server_id": string | null;
          "session_device": string | null;
          "session_id": string | null;
          "status": string;
          "task_type": string;
          "team_id": string | null;
          "thread_id": string | null;
          "told": string | null;
          "updated_at": string;
        };
        SetofOptions: {
          from: "*";
          to: "mac_tasks";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_claim_outbox": {
        Args: { "p_lease"?: string; "p_limit"?: number };
        Returns: {
          "ask_id": string | null;
          "attempt": number;
          "body": NonNullable<Json>;
          "bridge_id": string | null;
          "created_at": string;
          "edit_of": string | null;
          "error": string | null;
          "expires_at": string;
          "external_id": string | null;
          "finished_at": string | null;
          "id": string;
          "idempotency_key": string;
          "is_progress": boolean;
          "kind": string;
          "lease_expires_at": string | null;
          "max_attempts": number;
          "message_id": string | null;
          "mirror": boolean;
          "nonce": string | null;
          "overtaken": boolean;
          "parts": (string)[];
          "provider": string;
          "reply_message_id": string | null;
          "reply_to": string | null;
          "run_after": string;
          "secret_name": string;
          "seq": number;
          "server_id": string;
          "status": string;
          "summarises": number;
          "target": string;
          "task_id": string | null;
          "updated_at": string;
        }[];
        SetofOptions: {
          from: "*";
          to: "hub_outbox";
          isOneToOne: false;
          isSetofReturn: true;
        };
      };
      "hub_claim_sweeps": {
        Args: { "p_lease"?: string; "p_limit"?: number };
        Returns: {
          "added": number | null;
          "attempt": number;
          "city": string;
          "created_at": string;
          "error": string | null;
          "finished_at": string | null;
          "found": number | null;
          "id": string;
          "lease_expires_at": string | null;
          "requested_by": string | null;
          "run_after": string;
          "server_id": string;
          "source": string | null;
          "started_at": string | null;
          "status": string;
        }[];
        SetofOptions: {
          from: "*";
          to: "koji_sweeps";
          isOneToOne: false;
          isSetofReturn: true;
        };
      };
      "hub_claim_tasks": {
        Args: { "p_device": string; "p_lease"?: string; "p_limit"?: number };
        Returns: {
          "agent": string | null;
          "attempt": number;
          "cancel_requested_at": string | null;
          "channel_id": string | null;
          "claimed_at": string | null;
          "claimed_by": string | null;
          "content": string;
          "created_at": string;
          "created_by": string | null;
          "error": string | null;
          "finished_at": string | null;
          "id": string;
          "idempotency_key": string | null;
          "lane": number | null;
          "lease_expires_at": string | null;
          "max_attempts": number;
          "message_id": string | null;
          "metadata": Json | null;
          "model": string | null;
          "model_pinned": boolean;
          "model_preference": string;
          "parent_id": string | null;
          "partial_output": string | null;
          "platform": string;
          "priority": number;
          "progress_count": number;
          "project": string | null;
          "queue_key": string | null;
          "quiet": boolean;
          "requested_agent": string | null;
          "requested_device": string | null;
          "result": string | null;
          "root_id": string | null;
          "run_after": string | null;
          "seq": number;
          "server_id": string | null;
          "session_device": string | null;
          "session_id": string | null;
          "status": string;
          "task_type": string;
          "team_id": string | null;
          "thread_id": string | null;
          "told": string | null;
          "updated_at": string;
        }[];
        SetofOptions: {
          from: "*";
          to: "mac_tasks";
          isOneToOne: false;
          isSetofReturn: true;
        };
      };
      "hub_classify": {
        Args: { "p_channel_id"?: string; "p_content": string };
        Returns: {
          "confidence": number;
          "model": string;
          "platform": string;
          "reasons": (string)[];
          "task_type": string;
        }[];
      };
      "hub_complete_outbox": {
        Args: { "p_attempt": number; "p_external_id"?: string; "p_id": string; "p_note"?: string; "p_parts"?: (string)[] };
        Returns: {
          "ask_id": string | null;
          "attempt": number;
          "body": NonNullable<Json>;
          "bridge_id": string | null;
          "created_at": string;
          "edit_of": string | null;
          "error": string | null;
          "expires_at": string;
          "external_id": string | null;
          "finished_at": string | null;
          "id": string;
          "idempotency_key": string;
          "is_progress": boolean;
          "kind": string;
          "lease_expires_at": string | null;
          "max_attempts": number;
          "message_id": string | null;
          "mirror": boolean;
          "nonce": string | null;
          "overtaken": boolean;
          "parts": (string)[];
          "provider": string;
          "reply_message_id": string | null;
          "reply_to": string | null;
          "run_after": string;
          "secret_name": string;
          "seq": number;
          "server_id": string;
          "status": string;
          "summarises": number;
          "target": string;
          "task_id": string | null;
          "updated_at": string;
        };
        SetofOptions: {
          from: "*";
          to: "hub_outbox";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_complete_sweep": {
        Args: { "p_attempt": number; "p_found": Json; "p_source"?: string; "p_sweep_id": string };
        Returns: {
          "added": number | null;
          "attempt": number;
          "city": string;
          "created_at": string;
          "error": string | null;
          "finished_at": string | null;
          "found": number | null;
          "id": string;
          "lease_expires_at": string | null;
          "requested_by": string | null;
          "run_after": string;
          "server_id": string;
          "source": string | null;
          "started_at": string | null;
          "status": string;
        };
        SetofOptions: {
          from: "*";
          to: "koji_sweeps";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_complete_task": {
        Args: { "p_attempt": number; "p_meta"?: Json; "p_result": string; "p_task_id": string };
        Returns: {
          "agent": string | null;
          "attempt": number;
          "cancel_requested_at": string | null;
          "channel_id": string | null;
          "claimed_at": string | null;
          "claimed_by": string | null;
          "content": string;
          "created_at": string;
          "created_by": string | null;
          "error": string | null;
          "finished_at": string | null;
          "id": string;
          "idempotency_key": string | null;
          "lane": number | null;
          "lease_expires_at": string | null;
          "max_attempts": number;
          "message_id": string | null;
          "metadata": Json | null;
          "model": string | null;
          "model_pinned": boolean;
          "model_preference": string;
          "parent_id": string | null;
          "partial_output": string | null;
          "platform": string;
          "priority": number;
          "progress_count": number;
          "project": string | null;
          "queue_key": string | null;
          "quiet": boolean;
          "requested_agent": string | null;
          "requested_device": string | null;
          "result": string | null;
          "root_id": string | null;
          "run_after": string | null;
          "seq": number;
          "server_id": string | null;
          "session_device": string | null;
          "session_id": string | null;
          "status": string;
          "task_type": string;
          "team_id": string | null;
          "thread_id": string | null;
          "told": string | null;
          "updated_at": string;
        };
        SetofOptions: {
          from: "*";
          to: "mac_tasks";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_costs": {
        Args: { "p_by": string; "p_from": string; "p_to": string };
        Returns: {
          "attempts": number;
          "cost_usd": number;
          "name": string;
          "notional_usd": number;
          "seconds": number;
          "tokens_in": number;
          "tokens_out": number;
        }[];
      };
      "hub_create_hook_token": { Args: { "p_name": string; "p_targets": (string)[] }; Returns: Json };
      "hub_create_task_thread": {
        Args: { "p_channel_id": string; "p_task_id": string };
        Returns: {
          "archived_at": string | null;
          "channel_id": string;
          "created_at": string;
          "decay_at": string | null;
          "edit_count": number;
          "id": string;
          "last_activity_at": string;
          "message_count": number;
          "metadata": Json | null;
          "name": string;
          "state_entered_at": string;
          "status": string;
          "task_id": string | null;
          "team_id": string | null;
        };
        SetofOptions: {
          from: "*";
          to: "hub_task_threads";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_decay_threads": { Args: { "p_limit"?: number; "p_now"?: string }; Returns: number };
      "hub_drain_device": {
        Args: { "p_drained"?: boolean; "p_name": string };
        Returns: {
          "agents": NonNullable<Json>;
          "capacity": number;
          "created_at": string;
          "disk_free_bytes": number | null;
          "drained_at": string | null;
          "labels": (string)[];
          "last_heartbeat_at": string | null;
          "memory_free_bytes": number | null;
          "name": string;
          "platform": string | null;
          "projects_told": boolean;
          "revoked_at": string | null;
          "serves_all": boolean;
          "signed_off_at": string | null;
          "stopping_at": string | null;
          "updated_at": string;
          "user_id": string | null;
        };
        SetofOptions: {
          from: "*";
          to: "mesh_devices";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_enroll_device": {
        Args: { "p_enrolled"?: boolean; "p_name": string; "p_server_id": string };
        Returns: {
          "agents": NonNullable<Json>;
          "capacity": number;
          "created_at": string;
          "disk_free_bytes": number | null;
          "drained_at": string | null;
          "labels": (string)[];
          "last_heartbeat_at": string | null;
          "memory_free_bytes": number | null;
          "name": string;
          "platform": string | null;
          "projects_told": boolean;
          "revoked_at": string | null;
          "serves_all": boolean;
          "signed_off_at": string | null;
          "stopping_at": string | null;
          "updated_at": string;
          "user_id": string | null;
        };
        SetofOptions: {
          from: "*";
          to: "mesh_devices";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_execute_command": { Args: { "p_channel_id": string; "p_command": string }; Returns: Json };
      "hub_explain_task": {
        Args: { "p_task_id": string };
        Returns: {
          "detail": string;
          "reason": string;
          "until": string;
        }[];
      };
      "hub_fail_outbox": {
        Args: {
          "p_attempt": number;
          "p_error": string;
          "p_id": string;
          "p_parts"?: (string)[];
          "p_permanent"?: boolean;
          "p_retry_after"?: string;
        };
        Returns: {
          "ask_id": string | null;
          "attempt": number;
          "body": NonNullable<Json>;
          "bridge_id": string | null;
          "created_at": string;
          "edit_of": string | null;
          "error": string | null;
          "expires_at": string;
          "external_id": string | null;
          "finished_at": string | null;
          "id": string;
          "idempotency_key": string;
          "is_progress": boolean;
          "kind": string;
          "lease_expires_at": string | null;
          "max_attempts": number;
          "message_id": string | null;
          "mirror": boolean;
          "nonce": string | null;
          "overtaken": boolean;
          "parts": (string)[];
          "provider": string;
          "reply_message_id": string | null;
          "reply_to": string | null;
          "run_after": string;
          "secret_name": string;
          "seq": number;
          "server_id": string;
          "status": string;
          "summarises": number;
          "target": string;
          "task_id": string | null;
          "updated_at": string;
        };
        SetofOptions: {
          from: "*";
          to: "hub_outbox";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_fail_sweep": {
        Args: { "p_attempt": number; "p_error": string; "p_retryable"?: boolean; "p_sweep_id": string };
        Returns: {
          "added": number | null;
          "attempt": number;
          "city": string;
          "created_at": string;
          "error": string | null;
          "finished_at": string | null;
          "found": number | null;
          "id": string;
          "lease_expires_at": string | null;
          "requested_by": string | null;
          "run_after": string;
          "server_id": string;
          "source": string | null;
          "started_at": string | null;
          "status": string;
        };
        SetofOptions: {
          from: "*";
          to: "koji_sweeps";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_fail_task": {
        Args: { "p_attempt": number; "p_error": string; "p_meta"?: Json; "p_retryable"?: boolean; "p_task_id": string };
        Returns: {
          "agent": string | null;
          "attempt": number;
          "cancel_requested_at": string | null;
          "channel_id": string | null;
          "claimed_at": string | null;
          "claimed_by": string | null;
          "content": string;
          "created_at": string;
          "created_by": string | null;
          "error": string | null;
          "finished_at": string | null;
          "id": string;
          "idempotency_key": string | null;
          "lane": number | null;
          "lease_expires_at": string | null;
          "max_attempts": number;
          "message_id": string | null;
          "metadata": Json | null;
          "model": string | null;
          "model_pinned": boolean;
          "model_preference": string;
          "parent_id": string | null;
          "partial_output": string | null;
          "platform": string;
          "priority": number;
          "progress_count": number;
          "project": string | null;
          "queue_key": string | null;
          "quiet": boolean;
          "requested_agent": string | null;
          "requested_device": string | null;
          "result": string | null;
          "root_id": string | null;
          "run_after": string | null;
          "seq": number;
          "server_id": string | null;
          "session_device": string | null;
          "session_id": string | null;
          "status": string;
          "task_type": string;
          "team_id": string | null;
          "thread_id": string | null;
          "told": string | null;
          "updated_at": string;
        };
        SetofOptions: {
          from: "*";
          to: "mac_tasks";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_heartbeat": { Args: { "p_device": string; "p_machine"?: Json; "p_running"?: Json }; Returns: Json };
      "hub_inbox": {
        Args: { "p_before"?: string; "p_limit"?: number };
        Returns: {
          "answer": string | null;
          "answer_message_id": string | null;
          "answer_text": string | null;
          "answered_at": string | null;
          "answered_by": string | null;
          "answered_digest": string | null;
          "answered_door": string | null;
          "answered_label": string | null;
          "asked_by": string;
          "attempt": number;
          "body": string | null;
          "budget_id": number | null;
          "channel_id": string | null;
          "created_at": string;
          "digest": string;
          "expires_at": string | null;
          "id": string;
          "input": Json | null;
          "kind": string;
          "message_id": string | null;
          "on_expiry": string | null;
          "options": NonNullable<Json>;
          "parked": boolean;
          "persons": (string)[];
          "ref": string | null;
          "reminded": number;
          "roles": (string)[];
          "self": boolean;
          "server_id": string | null;
          "spent_at": string | null;
          "state": string;
          "taken_at": string | null;
          "task_id": string;
          "thread_id": string | null;
          "title": string;
          "told_at": string | null;
          "tool": string | null;
        }[];
        SetofOptions: {
          from: "*";
          to: "hub_asks";
          isOneToOne: false;
          isSetofReturn: true;
        };
      };
      "hub_invite": {
        Args: { "p_role"?: string; "p_server_id": string; "p_user_id": string };
        Returns: {
          "created_at": string;
          "invited_by": string | null;
          "role": string;
          "server_display_name": string;
          "server_id": string;
          "server_name": string;
          "user_id": string;
        };
        SetofOptions: {
          from: "*";
          to: "hub_invitations";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_lease_login": { Args: { "p_agent": string; "p_device": string; "p_holder": string; "p_seconds"?: number }; Returns: Json };
      "hub_leave": { Args: { "p_server_id": string }; Returns: undefined };
      "hub_limits": {
        Args: Record<PropertyKey, never>;
        Returns: {
          "account": string;
          "agent": string;
          "devices": (string)[];
          "kept": boolean;
          "limited_until": string;
          "model": string;
          "reason": string;
          "reported_at": string;
          "resets_at": string;
          "source": string;
          "used_share": number;
          "window_name": string;
        }[];
      };
      "hub_link_chat": { Args: { "p_author": string; "p_author_id": string; "p_code": string; "p_provider": string }; Returns: Json };
      "hub_link_code": { Args: Record<PropertyKey, never>; Returns: string };
      "hub_messages_since": {
        Args: { "p_after"?: number; "p_channel_id": string; "p_edits_after"?: number; "p_limit"?: number; "p_thread_id"?: string };
        Returns: {
          "channel_id": string;
          "content": string;
          "content_type": string;
          "created_at": string;
          "edit_seq": number | null;
          "embed_data": Json | null;
          "event": string | null;
          "id": string;
          "idempotency_key": string | null;
          "is_progress": boolean;
          "metadata": Json | null;
          "reply_to": string | null;
          "sender_id": string | null;
          "sender_label": string | null;
          "sender_type": string;
          "seq": number;
          "task_id": string | null;
          "task_thread_id": string | null;
        }[];
        SetofOptions: {
          from: "*";
          to: "hub_channel_messages";
          isOneToOne: false;
          isSetofReturn: true;
        };
      };
      "hub_need_task": {
        Args: { "p_needs": string; "p_on_failure"?: string; "p_task_id": string };
        Returns: {
          "created_at": string;
          "needs": string;
          "on_failure": string;
          "task": string;
        };
        SetofOptions: {
          from: "*";
          to: "hub_task_needs";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_outbox_due": { Args: Record<PropertyKey, never>; Returns: string };
      "hub_park_task": {
        Args: { "p_attempt": number; "p_meta"?: Json; "p_task_id": string };
        Returns: {
          "agent": string | null;
          "attempt": number;
          "cancel_requested_at": string | null;
          "channel_id": string | null;
          "claimed_at": string | null;
          "claimed_by": string | null;
          "content": string;
          "created_at": string;
          "created_by": string | null;
          "error": string | null;
          "finished_at": string | null;
          "id": string;
          "idempotency_key": string | null;
          "lane": number | null;
          "lease_expires_at": string | null;
          "max_attempts": number;
          "message_id": string | null;
          "metadata": Json | null;
          "model": string | null;
          "model_pinned": boolean;
          "model_preference": string;
          "parent_id": string | null;
          "partial_output": string | null;
          "platform": string;
          "priority": number;
          "progress_count": number;
          "project": string | null;
          "queue_key": string | null;
          "quiet": boolean;
          "requested_agent": string | null;
          "requested_device": string | null;
          "result": string | null;
          "root_id": string | null;
          "run_after": string | null;
          "seq": number;
          "server_id": string | null;
          "session_device": string | null;
          "session_id": string | null;
          "status": string;
          "task_type": string;
          "team_id": string | null;
          "thread_id": string | null;
          "told": string | null;
          "updated_at": string;
        };
        SetofOptions: {
          from: "*";
          to: "mac_tasks";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_post_feeds": { Args: { "p_now"?: string }; Returns: number };
      "hub_process_webhooks": { Args: { "p_limit"?: number; "p_now"?: string }; Returns: number };
      "hub_receive_bridged": {
        Args: {
          "p_author": string;
          "p_author_id"?: string;
          "p_content": string;
          "p_elsewhere"?: (string)[];
          "p_external_id": string;
          "p_interaction"?: boolean;
          "p_kind"?: string;
          "p_provider": string;
          "p_reply_to"?: string;
          "p_target": string;
        };
        Returns: Json;
      };
      "hub_receive_hook": {
        Args: { "p_deliver"?: boolean; "p_idempotency_key"?: string; "p_message": string; "p_target": string; "p_token": string };
        Returns: Json;
      };
      "hub_receive_webhook": {
        Args: { "p_delivery_id": string; "p_event": string; "p_payload": Json; "p_provider": string; "p_secret_name"?: string };
        Returns: Json;
      };
      "hub_recover": { Args: { "p_limit"?: number; "p_now"?: string }; Returns: number };
      "hub_register_device": {
        Args: { "p_agents": Json; "p_capacity": number; "p_name": string; "p_platform": string };
        Returns: {
          "agents": NonNullable<Json>;
          "capacity": number;
          "created_at": string;
          "disk_free_bytes": number | null;
          "drained_at": string | null;
          "labels": (string)[];
          "last_heartbeat_at": string | null;
          "memory_free_bytes": number | null;
          "name": string;
          "platform": string | null;
          "projects_told": boolean;
          "revoked_at": string | null;
          "serves_all": boolean;
          "signed_off_at": string | null;
          "stopping_at": string | null;
          "updated_at": string;
          "user_id": string | null;
        };
        SetofOptions: {
          from: "*";
          to: "mesh_devices";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_remove_budget": {
        Args: { "p_id": number };
        Returns: {
          "about": string | null;
          "amount": number;
          "created_at": string;
          "created_by": string | null;
          "has_lanes": boolean;
          "id": number;
          "measure": string;
          "on_silence": string;
          "per": string | null;
          "raised": number;
          "raised_by": string | null;
          "raised_in": string | null;
          "roles": (string)[];
          "scope": string;
          "server_id": string | null;
          "silence": string | null;
          "subject": string;
        };
        SetofOptions: {
          from: "*";
          to: "hub_budgets";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_report_login": { Args: { "p_agent": string; "p_device": string; "p_ok": boolean; "p_reason"?: string }; Returns: undefined };
      "hub_report_progress": {
        Args: { "p_attempt": number; "p_note": string; "p_quiet"?: boolean; "p_task_id": string };
        Returns: undefined;
      };
      "hub_report_rate_limit": {
        Args: {
          "p_agent": string;
          "p_device": string;
          "p_model"?: string;
          "p_reason"?: string;
          "p_resets_at"?: string;
          "p_source"?: string;
          "p_until"?: string;
          "p_used"?: number;
          "p_window"?: string;
        };
        Returns: undefined;
      };
      "hub_report_steer": {
        Args: { "p_attempt": number; "p_ids": (number)[]; "p_outcome": string; "p_task_id": string };
        Returns: undefined;
      };
      "hub_report_workspace": { Args: { "p_attempt": number; "p_task_id": string; "p_workspace": Json }; Returns: undefined };
      "hub_retry_outbox": {
        Args: { "p_id": string };
        Returns: {
          "ask_id": string | null;
          "attempt": number;
          "body": NonNullable<Json>;
          "bridge_id": string | null;
          "created_at": string;
          "edit_of": string | null;
          "error": string | null;
          "expires_at": string;
          "external_id": string | null;
          "finished_at": string | null;
          "id": string;
          "idempotency_key": string;
          "is_progress": boolean;
          "kind": string;
          "lease_expires_at": string | null;
          "max_attempts": number;
          "message_id": string | null;
          "mirror": boolean;
          "nonce": string | null;
          "overtaken": boolean;
          "parts": (string)[];
          "provider": string;
          "reply_message_id": string | null;
          "reply_to": string | null;
          "run_after": string;
          "secret_name": string;
          "seq": number;
          "server_id": string;
          "status": string;
          "summarises": number;
          "target": string;
          "task_id": string | null;
          "updated_at": string;
        };
        SetofOptions: {
          from: "*";
          to: "hub_outbox";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_retry_task": {
        Args: { "p_task_id": string };
        Returns: {
          "agent": string | null;
          "attempt": number;
          "cancel_requested_at": string | null;
          "channel_id": string | null;
          "claimed_at": string | null;
          "claimed_by": string | null;
          "content": string;
          "created_at": string;
          "created_by": string | null;
          "error": string | null;
          "finished_at": string | null;
          "id": string;
          "idempotency_key": string | null;
          "lane": number | null;
          "lease_expires_at": string | null;
          "max_attempts": number;
          "message_id": string | null;
          "metadata": Json | null;
          "model": string | null;
          "model_pinned": boolean;
          "model_preference": string;
          "parent_id": string | null;
          "partial_output": string | null;
          "platform": string;
          "priority": number;
          "progress_count": number;
          "project": string | null;
          "queue_key": string | null;
          "quiet": boolean;
          "requested_agent": string | null;
          "requested_device": string | null;
          "result": string | null;
          "root_id": string | null;
          "run_after": string | null;
          "seq": number;
          "server_id": string | null;
          "session_device": string | null;
          "session_id": string | null;
          "status": string;
          "task_type": string;
          "team_id": string | null;
          "thread_id": string | null;
          "told": string | null;
          "updated_at": string;
        };
        SetofOptions: {
          from: "*";
          to: "mac_tasks";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_return_login": { Args: { "p_agent": string; "p_device": string; "p_holder": string }; Returns: undefined };
      "hub_revoke_device": {
        Args: { "p_name": string; "p_revoked"?: boolean };
        Returns: {
          "agents": NonNullable<Json>;
          "capacity": number;
          "created_at": string;
          "disk_free_bytes": number | null;
          "drained_at": string | null;
          "labels": (string)[];
          "last_heartbeat_at": string | null;
          "memory_free_bytes": number | null;
          "name": string;
          "platform": string | null;
          "projects_told": boolean;
          "revoked_at": string | null;
          "serves_all": boolean;
          "signed_off_at": string | null;
          "stopping_at": string | null;
          "updated_at": string;
          "user_id": string | null;
        };
        SetofOptions: {
          from: "*";
          to: "mesh_devices";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_revoke_hook_token": { Args: { "p_id": string }; Returns: undefined };
      "hub_route_task": {
        Args: { "p_agent"?: string; "p_device"?: string; "p_model"?: string; "p_task_id": string; "p_type"?: string };
        Returns: {
          "agent": string | null;
          "attempt": number;
          "cancel_requested_at": string | null;
          "channel_id": string | null;
          "claimed_at": string | null;
          "claimed_by": string | null;
          "content": string;
          "created_at": string;
          "created_by": string | null;
          "error": string | null;
          "finished_at": string | null;
          "id": string;
          "idempotency_key": string | null;
          "lane": number | null;
          "lease_expires_at": string | null;
          "max_attempts": number;
          "message_id": string | null;
          "metadata": Json | null;
          "model": string | null;
          "model_pinned": boolean;
          "model_preference": string;
          "parent_id": string | null;
          "partial_output": string | null;
          "platform": string;
          "priority": number;
          "progress_count": number;
          "project": string | null;
          "queue_key": string | null;
          "quiet": boolean;
          "requested_agent": string | null;
          "requested_device": string | null;
          "result": string | null;
          "root_id": string | null;
          "run_after": string | null;
          "seq": number;
          "server_id": string | null;
          "session_device": string | null;
          "session_id": string | null;
          "status": string;
          "task_type": string;
          "team_id": string | null;
          "thread_id": string | null;
          "told": string | null;
          "updated_at": string;
        };
        SetofOptions: {
          from: "*";
          to: "mac_tasks";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_say": {
        Args: { "p_attempt": number; "p_task_id": string; "p_text": string };
        Returns: {
          "channel_id": string;
          "content": string;
          "content_type": string;
          "created_at": string;
          "edit_seq": number | null;
          "embed_data": Json | null;
          "event": string | null;
          "id": string;
          "idempotency_key": string | null;
          "is_progress": boolean;
          "metadata": Json | null;
          "reply_to": string | null;
          "sender_id": string | null;
          "sender_label": string | null;
          "sender_type": string;
          "seq": number;
          "task_id": string | null;
          "task_thread_id": string | null;
        };
        SetofOptions: {
          from: "*";
          to: "hub_channel_messages";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_send": {
        Args: { "p_channel_id": string; "p_content": string; "p_idempotency_key"?: string; "p_reply_to"?: string; "p_thread_id"?: string };
        Returns: Json;
      };
      "hub_send_to": { Args: { "p_channel": string; "p_content": string; "p_idempotency_key"?: string }; Returns: Json };
      "hub_set_budget": {
        Args: {
          "p_about"?: string;
          "p_amount"?: number;
          "p_measure"?: string;
          "p_on_silence"?: string;
          "p_per"?: string;
          "p_roles"?: (string)[];
          "p_scope"?: string;
          "p_server_id"?: string;
          "p_silence"?: string;
          "p_subject"?: string;
        };
        Returns: {
          "about": string | null;
          "amount": number;
          "created_at": string;
          "created_by": string | null;
          "has_lanes": boolean;
          "id": number;
          "measure": string;
          "on_silence": string;
          "per": string | null;
          "raised": number;
          "raised_by": string | null;
          "raised_in": string | null;
          "roles": (string)[];
          "scope": string;
          "server_id": string | null;
          "silence": string | null;
          "subject": string;
        };
        SetofOptions: {
          from: "*";
          to: "hub_budgets";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_set_fallbacks": {
        Args: { "p_fallbacks"?: (string)[]; "p_model"?: string; "p_server_id"?: string };
        Returns: {
          "fallback": string;
          "id": string;
          "model": string;
          "position": number;
          "server_id": string | null;
        }[];
        SetofOptions: {
          from: "*";
          to: "hub_model_fallbacks";
          isOneToOne: false;
          isSetofReturn: true;
        };
      };
      "hub_set_member": {
        Args: { "p_role"?: string; "p_server_id": string; "p_user_id": string };
        Returns: {
          "accepts_hooks": boolean;
          "created_at": string;
          "role": string;
          "server_id": string;
          "user_id": string;
        };
        SetofOptions: {
          from: "*";
          to: "hub_members";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_set_share": {
        Args: { "p_project"?: string; "p_server_id": string; "p_weight"?: number };
        Returns: {
          "id": string;
          "project": string | null;
          "server_id": string;
          "weight": number;
        };
        SetofOptions: {
          from: "*";
          to: "hub_shares";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_set_thread_replies": {
        Args: { "p_channel_id": string; "p_replies": string };
        Returns: {
          "category_group": string | null;
          "created_at": string;
          "description": string | null;
          "display_name": string;
          "edit_count": number;
          "feed": string | null;
          "id": string;
          "is_read_only": boolean;
          "last_message_at": string | null;
          "message_count": number;
          "metadata": Json | null;
          "model_preference": string;
          "name": string;
          "project_path": string | null;
          "server_id": string;
          "thread_decay_after": string | null;
          "thread_idle_after": string | null;
          "thread_replies": string;
          "when_limited": string;
        };
        SetofOptions: {
          from: "*";
          to: "hub_channels";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_set_when_limited": {
        Args: { "p_channel_id": string; "p_when_limited": string };
        Returns: {
          "category_group": string | null;
          "created_at": string;
          "description": string | null;
          "display_name": string;
          "edit_count": number;
          "feed": string | null;
          "id": string;
          "is_read_only": boolean;
          "last_message_at": string | null;
          "message_count": number;
          "metadata": Json | null;
          "model_preference": string;
          "name": string;
          "project_path": string | null;
          "server_id": string;
          "thread_decay_after": string | null;
          "thread_idle_after": string | null;
          "thread_replies": string;
          "when_limited": string;
        };
        SetofOptions: {
          from: "*";
          to: "hub_channels";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_share_state": {
        Args: Record<PropertyKey, never>;
        Returns: {
          "project": string;
          "server_id": string;
          "server_name": string;
          "stands_back_seconds": number;
          "used_seconds": number;
          "weight": number;
        }[];
      };
      "hub_sign_off": { Args: { "p_device": string }; Returns: undefined };
      "hub_steer_task": {
        Args: { "p_task_id": string; "p_text": string };
        Returns: {
          "agent": string | null;
          "attempt": number;
          "cancel_requested_at": string | null;
          "channel_id": string | null;
          "claimed_at": string | null;
          "claimed_by": string | null;
          "content": string;
          "created_at": string;
          "created_by": string | null;
          "error": string | null;
          "finished_at": string | null;
          "id": string;
          "idempotency_key": string | null;
          "lane": number | null;
          "lease_expires_at": string | null;
          "max_attempts": number;
          "message_id": string | null;
          "metadata": Json | null;
          "model": string | null;
          "model_pinned": boolean;
          "model_preference": string;
          "parent_id": string | null;
          "partial_output": string | null;
          "platform": string;
          "priority": number;
          "progress_count": number;
          "project": string | null;
          "queue_key": string | null;
          "quiet": boolean;
          "requested_agent": string | null;
          "requested_device": string | null;
          "result": string | null;
          "root_id": string | null;
          "run_after": string | null;
          "seq": number;
          "server_id": string | null;
          "session_device": string | null;
          "session_id": string | null;
          "status": string;
          "task_type": string;
          "team_id": string | null;
          "thread_id": string | null;
          "told": string | null;
          "updated_at": string;
        };
        SetofOptions: {
          from: "*";
          to: "mac_tasks";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_subtask": {
        Args: {
          "p_agent"?: string;
          "p_attempt": number;
          "p_content": string;
          "p_model"?: string;
          "p_project"?: string;
          "p_task_id": string;
        };
        Returns: {
          "agent": string | null;
          "attempt": number;
          "cancel_requested_at": string | null;
          "channel_id": string | null;
          "claimed_at": string | null;
          "claimed_by": string | null;
          "content": string;
          "created_at": string;
          "created_by": string | null;
          "error": string | null;
          "finished_at": string | null;
          "id": string;
          "idempotency_key": string | null;
          "lane": number | null;
          "lease_expires_at": string | null;
          "max_attempts": number;
          "message_id": string | null;
          "metadata": Json | null;
          "model": string | null;
          "model_pinned": boolean;
          "model_preference": string;
          "parent_id": string | null;
          "partial_output": string | null;
          "platform": string;
          "priority": number;
          "progress_count": number;
          "project": string | null;
          "queue_key": string | null;
          "quiet": boolean;
          "requested_agent": string | null;
          "requested_device": string | null;
          "result": string | null;
          "root_id": string | null;
          "run_after": string | null;
          "seq": number;
          "server_id": string | null;
          "session_device": string | null;
          "session_id": string | null;
          "status": string;
          "task_type": string;
          "team_id": string | null;
          "thread_id": string | null;
          "told": string | null;
          "updated_at": string;
        };
        SetofOptions: {
          from: "*";
          to: "mac_tasks";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_subtask_result": { Args: { "p_attempt": number; "p_subtask_id": string; "p_task_id": string }; Returns: Json };
      "hub_take_answers": { Args: { "p_ask_ids": (string)[]; "p_attempt": number; "p_task_id": string }; Returns: undefined };
      "hub_unlink_chat": { Args: { "p_author_id": string; "p_provider": string }; Returns: undefined };
      "hub_update_thread_status": {
        Args: { "p_status": string; "p_thread_id": string };
        Returns: {
          "archived_at": string | null;
          "channel_id": string;
          "created_at": string;
          "decay_at": string | null;
          "edit_count": number;
          "id": string;
          "last_activity_at": string;
          "message_count": number;
          "metadata": Json | null;
          "name": string;
          "state_entered_at": string;
          "status": string;
          "task_id": string | null;
          "team_id": string | null;
        };
        SetofOptions: {
          from: "*";
          to: "hub_task_threads";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_withdraw_ask": {
        Args: { "p_ask_id": string; "p_attempt": number; "p_task_id": string };
        Returns: {
          "answer": string | null;
          "answer_message_id": string | null;
          "answer_text": string | null;
          "answered_at": string | null;
          "answered_by": string | null;
          "answered_digest": string | null;
          "answered_door": string | null;
          "answered_label": string | null;
          "asked_by": string;
          "attempt": number;
          "body": string | null;
          "budget_id": number | null;
          "channel_id": string | null;
          "created_at": string;
          "digest": string;
          "expires_at": string | null;
          "id": string;
          "input": Json | null;
          "kind": string;
          "message_id": string | null;
          "on_expiry": string | null;
          "options": NonNullable<Json>;
          "parked": boolean;
          "persons": (string)[];
          "ref": string | null;
          "reminded": number;
          "roles": (string)[];
          "self": boolean;
          "server_id": string | null;
          "spent_at": string | null;
          "state": string;
          "taken_at": string | null;
          "task_id": string;
          "thread_id": string | null;
          "title": string;
          "told_at": string | null;
          "tool": string | null;
        };
        SetofOptions: {
          from: "*";
          to: "hub_asks";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "hub_workspace_removed": { Args: { "p_bundled": boolean; "p_device": string; "p_root": string }; Returns: undefined };
      "hub_workspaces_to_clean": {
        Args: { "p_device": string };
        Returns: {
          "branch": string;
          "merged": boolean;
          "name": string;
          "project": string;
          "root": string;
        }[];
      };
    };
    Enums: {
      [_ in never]: never;
    };
    CompositeTypes: {
      [_ in never]: never;
    };
  };
};

type DatabaseWithoutInternals = Omit<Database, "__InternalSupabase">;

type DefaultSchema = DatabaseWithoutInternals[Extract<keyof Database, "public">];

export type Tables<
  DefaultSchemaTableNameOrOptions extends
    | keyof (DefaultSchema["Tables"] & DefaultSchema["Views"])
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  } ? keyof (
      & DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
      & DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"]
    )
    : never = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals } ? (
    & DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    & DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"]
  )[TableName] extends {
    Row: infer R;
  } ? R
  : never
  : DefaultSchemaTableNameOrOptions extends keyof (DefaultSchema["Tables"] & DefaultSchema["Views"])
    ? (DefaultSchema["Tables"] & DefaultSchema["Views"])[DefaultSchemaTableNameOrOptions] extends {
      Row: infer R;
    } ? R
    : never
  : never;

export type TablesInsert<
  DefaultSchemaTableNameOrOptions extends
    | keyof DefaultSchema["Tables"]
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  } ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
    Insert: infer I;
  } ? I
  : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
    ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
      Insert: infer I;
    } ? I
    : never
  : never;

export type TablesUpdate<
  DefaultSchemaTableNameOrOptions extends
    | keyof DefaultSchema["Tables"]
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  } ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
    Update: infer U;
  } ? U
  : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
    ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
      Update: infer U;
    } ? U
    : never
  : never;

export type Enums<
  DefaultSchemaEnumNameOrOptions extends
    | keyof DefaultSchema["Enums"]
    | { schema: keyof DatabaseWithoutInternals },
  EnumName extends DefaultSchemaEnumNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  } ? keyof DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"]
    : never = never,
> = DefaultSchemaEnumNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"][EnumName]
  : DefaultSchemaEnumNameOrOptions extends keyof DefaultSchema["Enums"] ? DefaultSchema["Enums"][DefaultSchemaEnumNameOrOptions]
  : never;

export type CompositeTypes<
  PublicCompositeTypeNameOrOptions extends
    | keyof DefaultSchema["CompositeTypes"]
    | { schema: keyof DatabaseWithoutInternals },
  CompositeTypeName extends PublicCompositeTypeNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  } ? keyof DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"]
    : never = never,
> = PublicCompositeTypeNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"][CompositeTypeName]
  : PublicCompositeTypeNameOrOptions extends keyof DefaultSchema["CompositeTypes"]
    ? DefaultSchema["CompositeTypes"][PublicCompositeTypeNameOrOptions]
  : never;

export const Constants = {
  "public": {
    Enums: {},
  },
} as const;
