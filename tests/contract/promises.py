"""What the README promises, sentence by sentence, and the tests and measurements that hold each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]


class Promise(NamedTuple):
    """One thing that is claimed, the tests that fail when it is not so, and results in `benchmarks/results`."""

    text: str
    tests: tuple[str, ...] = ()
    results: tuple[str, ...] = ()


PROMISES: Final[dict[str, tuple[Promise, ...]]] = {
    "Durable": (
        Promise(
            "What was answered survives a crash of the program",
            (
                "test_every_acknowledged_memory_survives_a_kill_in_the_stream",
                "test_every_acknowledged_memory_survives_a_kill_of_the_server",
                "test_work_that_is_killed_at_any_write_loses_nothing_and_is_done_by_the_next_run",
            ),
            ("reliability",),
        ),
        Promise(
            "It survives a loss of power, as the chosen durability says",
            (
                "test_power_that_fails_leaves_a_sound_store_with_what_its_durability_promises",
                "test_normal_durability_may_lose_the_latest_writes",
                "test_durability_is_what_was_asked_for",
            ),
            ("reliability",),
        ),
        Promise(
            "A full or failing disk costs nothing that was acknowledged",
            (
                "test_a_disk_that_runs_full_at_any_write_costs_nothing_acknowledged",
                "test_calls_to_the_disk_that_fail_cost_nothing_acknowledged_and_end_in_words",
            ),
        ),
        Promise(
            "Content that changes stays in history",
            ("test_a_change_of_text_leaves_the_old_text_in_history", "test_forget_keeps_the_entity_in_history"),
        ),
        Promise(
            "A backup is made while the store is in use, and restored whole or not at all",
            (
                "test_a_backup_is_made_while_the_store_is_used_and_opens_as_a_store",
                "test_a_restore_that_is_killed_leaves_the_former_store_or_the_restored_one",
            ),
        ),
    ),
    "Shared": (
        Promise(
            "Several agents use one file at the same time, and none loses a write of another",
            (
                "test_eight_processes_write_to_one_file_at_once_and_lose_nothing",
                "test_eight_servers_lose_no_update_and_no_reader_waits_for_a_lock",
                "test_two_servers_see_each_others_memories_and_vectors",
            ),
            ("reliability",),
        ),
        Promise(
            "One `Memory` serves several threads",
            ("test_eight_threads_write_and_read_one_memory", "test_threads_that_recall_at_once_count_every_use"),
        ),
        Promise(
            "A memory that is private to an agent is seen by that agent alone, at every door",
            (
                "test_a_door_shows_a_memory_to_those_who_may_read_it",
                "test_every_tool_that_reads_is_a_door_or_shows_no_memory",
            ),
        ),
        Promise(
            "Workspaces keep projects apart; memories are shared and federated by copies",
            (
                "test_reads_that_name_no_workspace_see_that_one_only",
                "test_sharing_copies_and_leaves_the_original",
                "test_federating_copies_every_live_memory",
            ),
        ),
    ),
    "Offline": (
        Promise(
            "No network, no key, no model to download: words and meaning are searched offline",
            (
                "test_the_demo_finds_its_answers_offline_with_an_empty_home",
                "test_embedding_opens_no_connection_and_writes_nothing_to_stderr",
                "test_the_bundled_model_is_complete_and_undamaged",
            ),
        ),
        Promise(
            "Nothing is sent anywhere unless an address is set, and `--offline` wins over every address",
            (
                "test_nothing_is_sent_anywhere_unless_an_endpoint_is_set",
                "test_offline_wins_over_an_endpoint",
                "test_offline_keeps_the_service_from_being_asked",
                "test_offline_asks_nobody",
                "test_offline_refuses_each_feature_that_would_connect",
            ),
        ),
        Promise(
            "All of the default path works behind an air gap",
            (
                "test_the_default_path_works_behind_an_air_gap",
                "test_behind_an_air_gap_nothing_even_tries_to_leave",
            ),
        ),
        Promise(
            "The memory is one file",
            ("test_a_closed_store_is_one_file", "test_the_default_store_is_made_with_its_folders"),
        ),
        Promise(
            "Without a runtime for the model, search goes on by words and says so",
            (
                "test_without_an_embedder_recall_goes_on_by_keyword_and_says_so",
                "test_a_missing_runtime_is_named_with_its_install_command",
            ),
        ),
    ),
    "Found again": (
        Promise(
            "BM25 and a model of meaning search side by side, and their scores are fused",
            (
                "test_every_answer_says_which_arms_ran_and_what_each_gave",
                "test_default_mode_finds_the_answers",
                "test_default_mode_keeps_what_each_arm_finds_alone",
                "test_keyword_mode_is_not_below_a_plain_index",
            ),
            ("quality",),
        ),
        Promise(
            "Reciprocal rank fusion can be chosen",
            ("test_ranks_fuse_by_their_reciprocals", "test_an_unknown_fusion_is_refused_with_the_known_ones"),
        ),
        Promise(
            "Long texts are searched passage by passage, and the passage that matched comes with the hit",
            ("test_the_passage_that_matched_is_the_evidence", "test_every_passage_of_a_long_text_has_a_vector"),
        ),
        Promise(
            "Stems, beginnings and parts of words are found",
            (
                "test_words_are_found_in_another_form",
                "test_a_word_is_found_by_its_beginning_and_its_stem",
                "test_a_word_is_found_by_a_part_when_nothing_else_matches",
                "test_expansion_tries_words_as_beginnings_too_and_counts_its_tries",
            ),
        ),
        Promise("Text in scripts without spaces is found too", ("test_a_word_is_found_in_any_script",)),
        Promise(
            "A reply says when not everything could be searched, and warns when nothing fits",
            (
                "test_a_reply_far_from_every_memory_is_marked",
                "test_questions_about_foreign_topics_are_marked",
                "test_what_others_are_embedding_is_told_as_pending",
            ),
        ),
        Promise(
            "The same question to an unchanged store gets the same answer",
            ("test_the_same_question_gets_the_same_bytes", "test_another_process_would_give_the_same_bytes"),
        ),
        Promise(
            "A second fact is never swallowed because it resembles a first; merging is asked for",
            (
                "test_a_text_that_resembles_another_is_stored_and_told",
                "test_equal_texts_are_both_stored_by_default",
                "test_memories_that_differ_in_digits_are_both_kept",
            ),
        ),
    ),
    "Never in the wrong place": (
        Promise(
            "A filter by category, workspace, agent or layer holds on every arm",
            (
                "test_a_filter_holds_in_every_mode",
                "test_a_filtered_recall_never_returns_a_row_outside_its_filter",
                "test_every_door_of_the_store_applies_the_same_filter",
            ),
        ),
        Promise(
            "Category, key and workspace together are the identity of a memory",
            (
                "test_category_key_and_workspace_together_are_the_identity",
                "test_the_same_key_in_another_workspace_is_another_memory",
            ),
        ),
    ),
    "True in time": (
        Promise(
            "`mimir_as_of` answers for any instant at which something was recorded",
            (
                "test_as_of_agrees_with_a_replay_of_what_was_said",
                "test_as_of_answers_with_half_open_intervals",
                "test_versions_written_within_one_millisecond_are_all_reachable",
            ),
            ("temporal",),
        ),
        Promise(
            "Recall answers for an instant of either time",
            (
                "test_recall_answers_as_the_store_stood",
                "test_recall_finds_the_fact_that_held_at_an_instant",
                "test_no_mode_returns_a_fact_of_another_time",
            ),
        ),
        Promise(
            "What is superseded leaves recall and stays in history",
            (
                "test_a_superseded_fact_leaves_default_recall_and_comes_back_when_asked_for",
                "test_as_of_tells_what_was_believed_before_during_and_after",
            ),
        ),
        Promise(
            "Contradictions are found, and settled without touching what is verified or pinned",
            (
                "test_most_contradictions_are_reported",
                "test_hardly_anything_else_is_reported",
                "test_a_verified_memory_never_loses",
                "test_a_pinned_memory_never_loses",
            ),
        ),
    ),
    "Accountable": (
        Promise(
            "The journal only grows and is a chain of hashes",
            ("test_the_journal_cannot_be_rewritten", "test_rows_that_follow_each_other_fit"),
        ),
        Promise(
            "`mimir verify` names the first row that was changed",
            (
                "test_every_single_byte_of_a_row_in_the_file_counts",
                "test_one_change_of_the_journal_fails_and_is_named",
                "test_a_row_taken_out_with_the_numbers_closed_up_is_found",
            ),
        ),
        Promise(
            "What `mimir_purge` erases is gone from every page of the file; what it cannot reach it names",
            (
                "test_no_byte_of_an_archived_memory_is_left",
                "test_no_byte_is_left_after_any_course_of_writes",
                "test_copies_beside_the_file_are_named",
            ),
        ),
        Promise(
            "Credentials in a text are reported, masked or refused, as set",
            (
                "test_a_secret_is_reported_by_kind_and_place_and_stored_by_default",
                "test_a_masked_secret_reaches_no_file",
                "test_a_refused_secret_is_named_and_nothing_is_stored",
            ),
        ),
    ),
    "Sealed": (
        Promise(
            "With a key the whole file is unreadable: texts, index, vectors, journal",
            (
                "test_nothing_of_a_sealed_store_is_readable_while_it_is_served_and_after",
                "test_a_store_that_is_sealed_holds_what_it_held_and_shows_nothing",
            ),
        ),
        Promise(
            "A sealed store finds what a plain one finds",
            ("test_every_search_finds_what_it_finds_in_a_plain_store",),
        ),
        Promise(
            "A wrong key, a missing one and a changed file are told apart",
            (
                "test_a_wrong_key_is_told",
                "test_a_missing_key_is_told",
                "test_a_changed_bit_anywhere_is_found",
                "test_a_server_with_a_key_that_does_not_fit_does_not_start",
            ),
        ),
        Promise(
            "Keys are made for their owner alone, changed and taken away, whatever is killed meanwhile",
            (
                "test_keygen_makes_a_key_that_only_its_owner_may_read",
                "test_every_change_of_keys_keeps_everything",
                "test_a_change_of_keys_that_is_killed_leaves_one_whole_store",
            ),
        ),
    ),
    "It fades like memory does": (
        Promise(
            "Episodes fade in days, what is known in weeks, the world in months",
            (
                "test_each_layer_fades_at_its_own_pace",
                "test_after_its_stability_a_memory_keeps_a_third_of_its_strength",
                "test_higher_layers_fade_slower",
            ),
        ),
        Promise(
            "Use refreshes",
            ("test_a_recall_refreshes_what_it_returns_once", "test_uses_in_two_memories_on_one_file_add_up"),
        ),
        Promise(
            "Nothing that is verified, pinned or rated is lost to a pass",
            (
                "test_verified_pinned_and_scored_memories_are_never_archived_or_lowered",
                "test_a_scored_memory_outlasts_every_pass_and_an_unscored_one_does_not",
            ),
        ),
        Promise(
            "A dry run tells what the real one does, and changes nothing",
            ("test_a_dry_run_tells_what_the_real_one_does_and_changes_nothing",),
        ),
        Promise(
            "Upkeep does not stop other agents",
            ("test_others_write_between_the_batches_of_a_pass",),
            ("lifecycle",),
        ),
    ),
    "At home with the original": (
        Promise(
            "A file of the Rust Mimir is recognised, backed up and converted when it is opened",
            (
                "test_every_field_of_an_entity_is_kept",
                "test_a_server_answers_from_a_file_of_the_rust_mimir",
                "test_a_backup_shows_the_file_as_it_was_and_can_be_opened",
                "test_a_conversion_that_is_killed_leaves_the_file_as_it_was",
            ),
        ),
        Promise(
            "So is one that it encrypted, with its key",
            (
                "test_what_the_rust_mimir_encrypted_opens",
                "test_a_file_that_the_rust_mimir_encrypted_becomes_a_sealed_store",
            ),
        ),
        Promise(
            "Its tools, parameters and results are ours, save where a reason is given",
            (
                "test_every_tool_is_one_of_the_published_ones",
                "test_parameters_differ_from_the_published_ones_only_where_a_reason_is_given",
                "test_results_have_every_published_field_in_its_type",
                "test_the_state_digest_is_the_published_one",
            ),
        ),
        Promise(
            "The names of its framework packages import our adapters",
            ("test_the_names_of_the_originals_packages_are_those_of_the_adapters",),
        ),
    ),
    "In your hands": (
        Promise(
            "Memories are notes for Obsidian, Logseq and Notion, and edits come back",
            (
                "test_a_store_that_went_through_its_notes_is_the_same",
                "test_an_edited_note_leaves_the_former_text_in_history",
                "test_a_watch_follows_every_change_until_it_is_told_to_end",
                "test_pages_for_logseq_have_properties",
                "test_a_zip_for_notion_has_pages_with_links_and_a_table",
            ),
        ),
        Promise(
            "A dashboard shows and edits everything, without third-party scripts",
            (
                "test_every_response_keeps_a_browser_from_running_what_is_not_ours",
                "test_an_edit_changes_what_was_sent_and_keeps_the_former_text",
                "test_every_action_is_undone_in_reverse_and_what_was_is_there_again",
            ),
        ),
        Promise(
            "Conversations and memories of other programs are imported, once and whole",
            ("test_an_export_comes_in_whole_and_once", "test_ten_questions_are_answered_from_an_export"),
        ),
        Promise(
            "Folders, documents, GitHub issues and pull requests are read, and read again when they change",
            (
                "test_only_changed_files_are_read_again_also_by_another_process",
                "test_a_folder_is_followed_while_the_server_runs",
                "test_an_issue_comes_with_its_labels_and_its_comments_in_order",
                "test_a_pull_request_comes_with_what_its_reviewers_said",
                "test_pdf_documents_give_their_words_by_page",
                "test_word_documents_keep_headings_lists_and_tables",
            ),
        ),
    ),
    "At home in your client": (
        Promise(
            "A lone request in a shell pipe is answered",
            (
                "test_a_bare_call_is_served_without_a_handshake",
                "test_a_second_process_recalls_what_a_one_liner_stored",
            ),
        ),
        Promise(
            "stdio, HTTP and SSE give the same replies, in every revision of the protocol",
            (
                "test_every_front_gives_the_replies_of_the_dispatcher",
                "test_every_result_fits_the_schema_of_its_revision",
                "test_every_scenario_passes_that_is_not_excluded_and_no_other",
            ),
        ),
        Promise(
            "Over a network nothing works without a token, and a foreign web page reaches nothing",
            (
                "test_an_address_that_others_reach_needs_a_token",
                "test_no_route_but_health_works_without_the_token",
                "test_listed_names_and_origins_are_served_and_only_they_get_cors_headers",
                "test_a_foreign_page_is_refused_whatever_it_has",
            ),
        ),
        Promise(
            "`mimir connect` sets up a client and takes everything back",
            (
                "test_every_client_gets_the_server_once_and_its_file_back",
                "test_what_a_client_is_given_starts_a_server",
            ),
        ),
        Promise(
            "Real clients work with it",
            ("test_the_inspector_and_the_official_client_list_and_call_on_every_transport",),
        ),
        Promise(
            "LangGraph, CrewAI, AutoGen and others take it as their memory",
            (
                "test_a_graph_remembers_between_its_runs",
                "test_the_memory_of_crewai_remembers_and_recalls_through_mimir",
                "test_a_context_gets_what_fits_its_latest_question",
                "test_the_quick_start_of_a_framework_runs",
                "test_the_quick_starts_for_crewai_run",
            ),
        ),
        Promise(
            "Every tool is a method of `Memory` and a command of `mimir`",
            (
                "test_the_method_of_memory_is_the_function_of_the_tool",
                "test_every_operation_has_a_command_whose_help_names_every_parameter",
            ),
        ),
        Promise(
            "All tools together cost a prompt no more than their budget",
            (
                "test_all_tools_together_stay_within_the_prompt_budget",
                "test_no_tool_takes_more_of_a_prompt_than_its_share",
            ),
        ),
        Promise(
            "Whatever is asked, a reply stays within bounds and says what was left out",
            (
                "test_what_is_too_long_is_shortened_and_says_so",
                "test_recall_keeps_within_the_characters_it_is_given",
            ),
        ),
        Promise(
            "What is remembered is handed to a model as data and cannot pose as structure",
            (
                "test_what_is_remembered_cannot_pose_as_structure",
                "test_a_line_parses_to_its_own_memory_whatever_that_says",
            ),
        ),
    ),
    "Answers, if you bring a language model": (
        Promise(
            "`mimir_ask` answers from memories alone and cites them",
            (
                "test_an_answer_comes_with_its_sources_in_the_order_of_relevance",
                "test_citations_name_the_memories_and_what_was_not_shown_is_taken_out",
                "test_a_question_about_a_foreign_topic_is_not_in_memory_and_not_sent",
            ),
            ("asking",),
        ),
        Promise(
            "`mimir_synthesize` keeps the lessons of a session",
            ("test_lessons_are_remembered_with_one_event", "test_a_lesson_that_is_known_is_not_created_again"),
        ),
        Promise(
            "Another embedding model can be used, and vectors of two models are never compared",
            (
                "test_an_endpoint_wins_over_the_bundled_model",
                "test_vectors_of_another_model_are_never_compared",
            ),
        ),
    ),
    "Installed as you like": (
        Promise(
            "By a script that checks the hash of every package and takes everything away again",
            (
                "test_it_installs_into_an_empty_home_and_leaves_nothing_when_it_goes",
                "test_a_wheel_that_is_not_the_one_it_names_is_refused_and_nothing_changes",
            ),
        ),
        Promise(
            "By uvx without installing, and as a bundle for Claude Desktop",
            (
                "test_uvx_runs_the_demo_from_a_checkout",
                "test_the_bundle_serves_as_its_host_starts_it",
            ),
        ),
        Promise(
            "What is built is reproducible, and what it needs is pinned by hash",
            (
                "test_the_wheel_is_built_with_the_same_bytes_wherever_the_sources_lie",
                "test_every_pin_has_a_hash",
            ),
        ),
        Promise(
            "A bill of materials names all of it, and nothing is under a licence that spreads",
            (
                "test_the_bill_names_each_pin_of_a_plain_installation_with_its_hashes",
                "test_no_dependency_is_under_a_licence_that_spreads",
            ),
        ),
    ),
    "Quick": (
        Promise(
            "Nothing heavy is loaded before the first reply",
            ("test_a_whole_handshake_loads_nothing_heavy_and_stores_nothing",),
            ("startup",),
        ),
        Promise(
            "Its figures come from programs that anyone can run again",
            (
                "test_scale_runs_through_and_reuses_kept_stores",
                "test_stress_runs_through_and_compares_with_an_earlier_result",
                "test_startup_runs_through",
            ),
            ("scale-synthetic", "scale-million", "stress", "startup", "peers"),
        ),
    ),
}
"""By the words that stand in bold before the promise in the README."""


def located_tests() -> dict[str, list[str]]:
    """Return the files, relative to the project, that have a test of each name."""
    files: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            files.setdefault(name, []).append(path.relative_to(ROOT).as_posix())
    return files
