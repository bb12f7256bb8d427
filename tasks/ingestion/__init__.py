"""Ingestion: from a public data set or an organisation's own tables to `SiloTables`.

Public data sets are fetched, verified and split on the coordinator's machine; an
organisation's own tables are only ever read inside its silo.
"""
