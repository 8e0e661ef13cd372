// Command show prints the table as the mailer sees it.
package main

import (
	"database/sql"
	"fmt"
	"log"
	"os"

	_ "modernc.org/sqlite" // database/sql finds the driver by its name
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: show FILE")
	}
	db, err := sql.Open("sqlite", "file:"+os.Args[1]+"?mode=ro")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(`SELECT email, list, allowed FROM consent ORDER BY email, list`)
	if err != nil {
		log.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		var email, list string
		var allowed bool
		if err := rows.Scan(&email, &list, &allowed); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s %s allowed=%t\n", email, list, allowed)
	}
	if err := rows.Err(); err != nil {
		log.Fatal(err)
	}
	fmt.Println("rows:", n)
}
